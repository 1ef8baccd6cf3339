import type { ChildStart } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { RunDriver } from "../../test/run-driver.ts";
import { childAddress, go, queued } from "../../test/runs.ts";
import { childEnd } from "./receive.ts";
import type { Run, State, Taken } from "./run.ts";

const spec = { id: uuid(2), name: "ship", versionId: "1", referenceId: "ref", inputHash: "h" };
const start: ChildStart = { address: childAddress, callSite: { madeAfter: 0, identity: "a" }, spec };

function starting(taken: readonly Taken[], starts: ChildStart[] = [start]): RunDriver {
  const driver = new RunDriver().claim();
  const command = driver.reporting(go, { starts });
  return driver.do(command.type === "report" ? { ...command, taken } : command);
}

function heldBy(id: string, parent: Run["parent"], state: State = queued): Taken[] {
  return [{ address: childAddress, holder: { id, parent, end: childEnd({ id, state }) } }];
}

describe("the start of a child", () => {
  it("the start of a child without a conflict starts it", () => {
    const driver = starting([]);
    expect(driver.at(childAddress)).toEqual({ type: "started", runId: spec.id });
    expect(driver.effects).toMatchObject([{ type: "start", run: { id: spec.id } }]);
    expect(driver.run).toMatchObject({ children: 1, inbox: 0 });
  });

  it.each([
    ["whose reference another run has", heldBy(uuid(3), null), "REFERENCE_CONFLICT"],
    ["whose id another run has", heldBy(spec.id, null), "RUN_ID_CONFLICT"],
    [
      "whose reference a child of another run has",
      heldBy(uuid(3), { id: uuid(9), address: childAddress }),
      "REFERENCE_CONFLICT",
    ],
    [
      "whose reference a child of another call has",
      heldBy(uuid(3), { id: uuid(1), address: "child:ship:b#0" }),
      "REFERENCE_CONFLICT",
    ],
  ])("the start of a child %s throws at its address, as a new entry, and starts nothing", (_, taken, code) => {
    const driver = starting(taken);
    expect(driver.journal).toMatchObject([
      { address: childAddress, callSite: start.callSite, value: { type: "threw", error: { code } } },
    ]);
    expect(driver.effects).toEqual([]);
    expect(driver.run).toMatchObject({ children: 0, inbox: 1 });
  });

  it("the start of a child throws if an earlier start of its report has the same reference", () => {
    const second = { address: "child:ship:b#0", spec: { ...spec, id: uuid(3) } };
    const driver = starting([], [start, second]);
    expect(driver.entryTypes).toEqual(["started", "threw"]);
    expect(driver.effects).toHaveLength(1);
  });

  it("the start of a child that has ended uses it, and records an output that is not loaded as unread", () => {
    const ended: State = { status: "completed", output: { bytes: 2_000_000 } };
    const driver = starting(heldBy(spec.id, { id: uuid(1), address: childAddress }, ended));
    const end = { type: "unread", of: "returned", bytes: 2_000_000, child: spec.id };
    expect(driver.journal).toMatchObject([{ value: { type: "started" } }, { seq: 2, value: end }]);
    expect(driver.run).toMatchObject({ tail: 2, inbox: 1 });
  });

  it("the same reference id of children of two workflows is no conflict", () => {
    const second = { address: "child:bill:b#0", spec: { ...spec, id: uuid(3), name: "bill" } };
    expect(starting([], [start, second]).entryTypes).toEqual(["started", "started"]);
  });

  it("a child that an earlier attempt started is used again, and the parent receives its outcome", () => {
    const own = { id: uuid(1), address: childAddress };
    const live = starting(heldBy(uuid(3), own));
    expect(live.at(childAddress)).toEqual({ type: "started", runId: uuid(3) });
    expect(live).toMatchObject({ effects: [], run: { children: 0, inbox: 1 } });
    const ended = starting(heldBy(uuid(3), own, { status: "completed", output: '"shipped"' }));
    expect(ended.at(`${childAddress}/result`)).toEqual({ type: "returned", output: '"shipped"' });
  });
});
