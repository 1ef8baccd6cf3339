import {
  addressOf,
  childWaitAddress,
  openedWaitAddress,
  retryAddress,
  tryAddress,
  withdrawnAddress,
} from "@aikirun/lib/internal";
import type { Entry, RunView, Value } from "@aikirun/lib/protocol";
import { calledOf, placeOf } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { timeline } from "./timeline.ts";

const began = 1_700_000_000_000;

const run: RunView = {
  id: "0190c0de-0000-7000-8000-000000000001",
  name: "order",
  versionId: "1.0.0",
  status: "completed",
  since: began + 4_200,
  revision: 9,
  attempt: 1,
  createdAt: began,
  updatedAt: began + 4_200,
  priority: 0,
  tags: [],
  input: '{"cents":42}',
  outcome: { status: "completed", output: '"ok"' },
  waits: [],
  awaitedChildren: 0,
  unboundEvents: [],
  dueAt: null,
  explanation: "Completed.",
};

let seq = 0;
function entry(address: string, value: Value, more: Partial<Entry> = {}): Entry {
  seq += 1;
  return { runId: run.id, seq, address, attempt: 1, at: began + 100 * seq, fence: 1, value, ...more };
}

describe("a timeline", () => {
  it("a timeline has one line for each entry, between the start and the end", () => {
    const charge = addressOf("task", "charge-card", "9f2c", 0);
    const error = { name: "Error", message: "the bank is closed" };
    const lines = timeline(run, [
      entry(tryAddress(charge, 1), { type: "retrying", error, retryAt: began + 300 }, { worker: "w1" }),
      entry(charge, { type: "returned", output: '"r"' }, { worker: "w1", startedAt: began + 180 }),
      entry("recovered:#1", { type: "marked", mark: "recovered", crashes: 1, confirmed: true }),
      entry(addressOf("sleep", null, null, 0), { type: "elapsed" }),
      entry("arrival:go:x", { type: "arrived", name: "go", data: "1" }),
    ]);
    expect(lines).toHaveLength(7);
    expect(lines[0]).toMatch(/\+0\.00s .*order@1\.0\.0 +started +\{"cents":42\}/);
    expect(lines[1]).toMatch(/charge-card +attempt 1 failed +the bank is closed; again in 200 ms {2}by w1/);
    expect(lines[2]).toMatch(/charge-card +recorded +"r" {2}\(20 ms\) {2}by w1/);
    expect(lines[3]).toMatch(/lost its lease +crash 1/);
    expect(lines[4]).toMatch(/sleep +slept/);
    expect(lines[5]).toMatch(/go +arrived +1/);
    expect(lines[6]).toMatch(/\+4\.20s .*completed +after 4\.2 s {2}"ok"/);
  });

  it("a timeline shows awaited, reused and withdrawn calls", () => {
    const child = addressOf("child", "ship", "9f2c", 0);
    const wait = childWaitAddress(child, 0);
    const lines = timeline(run, [
      entry(openedWaitAddress(wait), { type: "asked" }),
      entry(addressOf("task", "charge", "9f2c", 0), { type: "reused", seq: 4 }),
      entry(withdrawnAddress(addressOf("event", "stop", null, 0)), { type: "withdrawn" }),
    ]);
    expect(lines[1]).toMatch(/ship +awaits child/);
    expect(lines[2]).toMatch(/charge +reused +the value of entry 4/);
    expect(lines[3]).toMatch(/stop +withdrawn/);
  });

  it("a timeline distinguishes a child whose start was refused from a child that failed", () => {
    const child = addressOf("child", "ship", "9f2c", 0);
    const error = { name: "AikiError", message: "The reference r is taken." };
    const lines = timeline(run, [
      entry(child, { type: "threw", error }),
      entry(`${child}/result`, { type: "threw", error }),
    ]);
    expect(lines[1]).toMatch(/ship +not started +AikiError: The reference r is taken\./);
    expect(lines[2]).toMatch(/ship +child failed/);
  });

  it.each([
    ["crash_loop", "too many leases ended without a report"],
    ["diverged", "the code does not fit the journal"],
    ["ambiguous_call", "alike calls cannot be distinguished"],
    ["schema_mismatch", "recorded data does not fit the schema"],
    ["idle", "awaited only non-durable work for too long"],
  ] as const)("a timeline says in a few words why a run stalled: %s", (reason, cause) => {
    const lines = timeline(run, [entry("stalled:#1", { type: "marked", mark: "stalled", reason })]);
    expect(lines[1]).toMatch(new RegExp(`stalled +${cause}`));
  });

  it("a timeline says what a run that has not ended waits for", () => {
    const { outcome: _, ...open } = run;
    const lines = timeline({ ...open, status: "sleeping", explanation: "Waits for sleep." }, []);
    expect(lines.at(-1)).toMatch(/sleeping +Waits for sleep\./);
  });

  it("a timeline escapes control characters", () => {
    const evil = "\u001b[2J\u0007\nname\u202e";
    const error = { name: "Error", message: evil };
    const output = '"\\u001b"';
    const lines = timeline({ ...run, name: evil, outcome: { status: "failed", error } }, [
      entry(addressOf("task", evil, null, 0), { type: "threw", error }, { worker: evil }),
      entry(addressOf("task", "a", null, 0), { type: "returned", output }),
    ]);
    expect(lines.join("")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });
});

describe("an address", () => {
  it.each(["charge-card", "a:b/c#d", "注文 🎉", "%", "50%", ""])(
    "the address %j is shown by the name in the code",
    (name) => {
      const address = addressOf("task", name, "9f2c", 0);
      expect(placeOf(address)).toEqual({ kind: "task", name, ordinal: 0, rest: "" });
      expect(placeOf(retryAddress(address, 2))).toMatchObject({ name, rest: "/2/retry" });
    },
  );

  it("identical calls are distinguished by a number that is not their order", () => {
    const called = (ordinal: number) => calledOf(placeOf(addressOf("task", "ping", "x", ordinal)));
    expect([0, 1, 10].map(called)).toEqual(["ping", "ping #1", "ping #10"]);
  });
});
