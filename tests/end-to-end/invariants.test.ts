/** Every checker finds a planted violation of its invariant, and finds nothing in valid facts. */

import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import { entryWith, queuedRun, returnedEntry, runId, runningState } from "../suites/records.ts";
import { type Facts, readFacts } from "./facts.ts";
import { type checkers, violations } from "./invariants.ts";
import { type LedgerEffect, recordEffect } from "./ledger.ts";

const id = runId(1);
const charge = "task:charge:abc#0";

function effect(differing: Partial<LedgerEffect> = {}): LedgerEffect {
  const made = { runId: id, key: `${id}:${charge}`, task: "charge", attempt: 1, fence: 1, pid: 7, nonce: "n-1" };
  return { ...made, at: 2_000, ...differing };
}

/** A run on two workers: the first crashed after the effect, the second repeated it and recorded the result. */
function sound(): Facts {
  const effects = [effect(), effect({ fence: 2, nonce: "n-2", at: 2_500 })];
  return {
    started: new Map([[id, "completed"]]),
    sent: [{ runId: id, name: "approved", referenceId: "r-1" }],
    outputs: new Map([[id, { by: "ada" }]]),
    faults: 1,
    stops: [],
    sleeps: { "sleep:#0": 80 },
    runs: [
      queuedRun(1, { state: { status: "completed", output: '{"by":"ada"}' }, dueAt: null, fence: 3, tail: 5 }),
      queuedRun(2, { state: { status: "completed" }, dueAt: null, parent: { id, address: "child:ship#0" } }),
    ],
    entries: [
      entryWith(
        id,
        1,
        { type: "marked", mark: "recovered", crashes: 1, confirmed: true },
        { address: "recovered:#1", at: 2_001 },
      ),
      returnedEntry(id, 2, {
        at: 2_002,
        address: charge,
        fence: 2,
        worker: "w",
        value: { type: "returned", output: '{"nonce":"n-2"}' },
      }),
      entryWith(
        id,
        3,
        { type: "arrived", name: "approved" },
        { address: "arrival:approved:r-1", attempt: 0, fence: 2, at: 2_003 },
      ),
      entryWith(id, 4, { type: "elapsed" }, { address: "sleep:#0", fence: 2, at: 2_082 }),
      entryWith(
        id,
        5,
        { type: "received", name: "approved", nth: 0 },
        { address: "event:approved#0", fence: 3, at: 2_090 },
      ),
    ],
    effects,
    integrity: ["ok"],
  };
}

type Plant = (facts: Facts) => Facts;
const withRun = (facts: Facts, n: number, differing: Partial<Facts["runs"][number]>): Facts => ({
  ...facts,
  runs: facts.runs.map((run) => (run.id === runId(n) ? { ...run, ...differing } : run)),
});
const entriesWith = (facts: Facts, seq: number, differing: Partial<Facts["entries"][number]>): Facts => ({
  ...facts,
  entries: facts.entries.map((entry) => (entry.seq === seq ? { ...entry, ...differing } : entry)),
});
const without = (facts: Facts, seq: number): Facts => ({
  ...facts,
  entries: facts.entries.filter((entry) => entry.seq !== seq),
});
const again = (facts: Facts, seq: number, differing: Partial<Facts["entries"][number]> = {}): Facts => ({
  ...facts,
  entries: facts.entries.flatMap((entry) => (entry.seq === seq ? [entry, { ...entry, ...differing }] : [entry])),
});
const effectsOf = (facts: Facts, ...effects: LedgerEffect[]): Facts => ({ ...facts, effects });

const plants: Record<keyof typeof checkers, Plant[]> = {
  started: [
    (facts) => ({ ...facts, runs: facts.runs.slice(1) }),
    (facts) => ({ ...facts, runs: [...facts.runs, ...facts.runs] }),
    (facts) => ({ ...facts, started: new Map([[id, "cancelled"]]) }),
  ],
  ended: [(facts) => ({ ...facts, runs: [...facts.runs, queuedRun(3)] })],
  endedRunsIdle: [
    (facts) => withRun(facts, 1, { dueAt: 9_000 }),
    (facts) => withRun(facts, 1, { waits: [{ address: "sleep:#1", type: "sleep", openedAt: 0, until: 9_000 }] }),
  ],
  references: [(facts) => withRun(withRun(facts, 1, { referenceId: "o-1" }), 2, { referenceId: "o-1" })],
  children: [
    (facts) => ({ ...facts, runs: [...facts.runs, queuedRun(3, { parent: { id, address: "child:ship#0" } })] }),
    (facts) => withRun(facts, 1, { state: runningState() }),
  ],
  childrenEnded: [
    (facts) => withRun(withRun(facts, 1, { state: { status: "cancelled" } }), 2, { state: runningState() }),
    (facts) => {
      const error = { name: "Error", message: "no" };
      return withRun(withRun(facts, 1, { state: { status: "failed", error } }), 2, { state: runningState() });
    },
  ],
  wakeUps: [
    (facts) =>
      withRun(facts, 2, {
        state: { status: "awaiting_event", resumable: null, children: 0 },
        waits: [{ address: "event:paid#0", type: "event", name: "paid", openedAt: 0, until: null }],
        events: new Map([["paid", { arrived: 1, taken: 0 }]]),
      }),
  ],
  noGaps: [(facts) => without(facts, 3), (facts) => again(facts, 2)],
  oneValue: [(facts) => again(facts, 2, { seq: 6, value: { type: "returned", output: "2" } })],
  monotonic: [
    (facts) => entriesWith(facts, 3, { fence: 1 }),
    (facts) => entriesWith(facts, 4, { at: 1_999 }),
    (facts) => entriesWith(facts, 5, { fence: 4 }),
  ],
  orphans: [
    (facts) => ({ ...facts, entries: [...facts.entries, returnedEntry(runId(9), 1)] }),
    (facts) => ({
      ...facts,
      runs: [...facts.runs, queuedRun(3, { parent: { id: runId(9), address: "child:ship#0" } })],
    }),
  ],
  recordedFromEffect: [
    (facts) => effectsOf(facts, effect()),
    (facts) => effectsOf(facts, effect(), effect({ fence: 2, nonce: "n-2", key: `${id}:other` })),
    (facts) => effectsOf(facts, effect(), effect({ fence: 3, nonce: "n-2" })),
  ],
  repeatsPerFault: [(facts) => ({ ...facts, faults: 0 })],
  fencedRepeats: [
    (facts) => effectsOf(facts, effect({ nonce: "n-2", fence: 2 }), effect({ fence: 2 })),
    (facts) => effectsOf(facts, effect({ nonce: "n-2", fence: 2 }), effect({ fence: 1 })),
  ],
  formerHolders: [(facts) => effectsOf(facts, ...facts.effects, effect({ key: `${id}:task:pack#0`, task: "pack" }))],
  oneHolder: [
    (facts) => effectsOf(facts, ...facts.effects, effect({ key: `${id}:task:pack#0`, fence: 2, pid: 8 })),
    (facts) => ({ ...facts, entries: [...facts.entries, returnedEntry(id, 6, { fence: 2, worker: "v" })] }),
  ],
  sameKey: [
    (facts) => effectsOf(facts, effect(), effect({ fence: 2, nonce: "n-2", key: `${id}:task:charge:abd#0` })),
    (facts) => effectsOf(facts, effect({ key: `${runId(2)}:${charge}` })),
  ],
  timers: [(facts) => entriesWith(facts, 4, { at: 2_081 })],
  events: [
    (facts) => without(facts, 3),
    (facts) => again(facts, 3, { seq: 6 }),
    (facts) => again(facts, 5, { seq: 6, address: "event:approved#1" }),
  ],
  sameOutput: [
    (facts) => ({ ...facts, outputs: new Map([[id, { by: "bob" }]]) }),
    (facts) => ({ ...facts, runs: facts.runs.slice(1) }),
  ],
  integrity: [(facts) => ({ ...facts, integrity: ["row 3 missing from index run_due"] })],
};

describe("the checkers", () => {
  it("the checkers find nothing in valid facts", () => {
    expect(violations(sound())).toEqual([]);
  });

  it("the checkers accept a late effect of a process that was stopped just before it", () => {
    const pack = `${id}:task:pack#0`;
    const [first, second] = [effect({ pid: 8, at: 2_000 }), effect({ fence: 2, at: 2_500, nonce: "n-2" })];
    const late = effect({ key: pack, task: "pack", at: 4_000, pid: 8 });
    const facts = { ...effectsOf(sound(), first, second, late), stops: [{ pid: 8, from: 2_100, until: 3_900 }] };
    expect(violations(facts)).toEqual([]);
  });

  it("the checkers accept a late effect whose time was read before the stop, but no effect before the stop", () => {
    const stops = [{ pid: 7, from: 2_100, until: 3_900 }];
    const [first, second] = [effect({ at: 2_050 }), effect({ fence: 2, pid: 8, at: 2_500, nonce: "n-2" })];
    const rest = effect({ key: `${id}:task:pack#0`, task: "pack", at: 2_060 });
    const interrupted = { ...effectsOf(sound(), second, first), stops };
    expect(violations(interrupted).filter((line) => /fencedRepeats|formerHolders/.test(line))).toEqual([]);
    const before = effectsOf(sound(), effect({ fence: 2, pid: 8, at: 2_000, nonce: "n-2" }), first, rest);
    expect(violations({ ...before, stops }).map((line) => line.split(":")[0])).toEqual(
      expect.arrayContaining(["fencedRepeats", "formerHolders"]),
    );
  });

  const cases = Object.entries(plants).flatMap(([name, all]) =>
    all.map((plant, index): [string, number, Plant] => [name, index + 1, plant]),
  );
  it.each(cases)("the checker %s finds planted violation %i", (name, _, plant) => {
    expect(violations(plant(sound())).map((line) => line.split(":")[0])).toContain(name);
  });
});

describe("the facts", () => {
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "aiki-facts-"));
    path = join(directory, "aiki.db");
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function written(): Promise<Facts> {
    const facts = sound();
    const storage = await openSqlite({ path, env: { now: () => 1_000 } });
    await storage.transaction(async (transaction) => {
      await transaction.insert(facts.runs);
      await transaction.save({ changes: [], holds: [], entries: facts.entries });
    });
    await storage.close();
    for (const one of facts.effects) recordEffect(join(directory, "effects"), one);
    return facts;
  }

  it("readFacts reads what the database and the ledger contain", async () => {
    const facts = await written();
    const read = await readFacts(`sqlite:${path}`, join(directory, "effects"), facts);
    expect(violations(read)).toEqual([]);
    expect(read.entries).toEqual(facts.entries);
    expect(read.effects).toEqual(facts.effects);
  });

  it("readFacts fails if the database file is damaged", async () => {
    const facts = await written();
    const file = await open(path, "r+");
    const { size } = await file.stat();
    // Overwrites rows and indexes, but not the first page and the pages of the schema.
    await file.write(Buffer.alloc(size - 3 * 4_096, 0xa5), 0, undefined, 3 * 4_096);
    await file.close();
    await expect(readFacts(`sqlite:${path}`, join(directory, "effects"), facts)).rejects.toThrow(/malformed/);
  });
});
