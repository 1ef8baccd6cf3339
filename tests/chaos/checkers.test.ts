/** Every checker of the chaos turns red for the violation that it is there for, and for a sound record stays green. */

import { describe, expect, it } from "vitest";
import { found } from "../end-to-end/invariants.ts";
import type { LedgerEffect } from "../end-to-end/ledger.ts";
import { prng } from "../simulate/prng.ts";
import { entryWith, queuedRun, runId, runningState } from "../suites/records.ts";
import { type ChaosFacts, chaosCheckers } from "./checkers.ts";
import { latenessOf } from "./harm.ts";
import { type ChaosOp, type ChaosOutput, type ChaosProgram, drawProgram, noTally, tallyOf } from "./program.ts";
import { misfits } from "./replays.ts";

const id = runId(1);

const program: ChaosProgram = {
  ops: [
    { type: "act", id: 1, failures: 1, ms: 0 },
    { type: "nap", id: 2, ms: 100 },
    { type: "race", id: 3, ms: 20 },
  ],
  ending: "return",
};
const output: ChaosOutput = { tally: { acts: 1, dooms: 0, naps: 1, heard: [], choices: 1, children: 0 } };

function effect(differing: Partial<LedgerEffect> = {}): LedgerEffect {
  const made = { runId: id, key: `${id}:task:act-1:abc#0`, task: "act-1", attempt: 1, fence: 1, pid: 7, nonce: "n-1" };
  return { ...made, at: 2_000, ...differing };
}

/** The worker fell after the first try, and another did it again; the second try did it. */
function sound(): ChaosFacts {
  return {
    started: new Map([[id, "completed"]]),
    sent: [],
    outputs: new Map([[id, output]]),
    faults: 1,
    stops: [],
    sleeps: {},
    runs: [completed(1, program, output)],
    entries: [],
    integrity: ["ok"],
    effects: [
      effect(),
      effect({ fence: 2, pid: 8, nonce: "n-2", at: 4_000 }),
      effect({ fence: 2, pid: 8, nonce: "n-3", at: 4_050, attempt: 2 }),
    ],
    harms: [{ what: "worker killed", pid: 7, from: 2_050, until: 2_050 }],
    naps: [
      { runId: id, nap: 2, ms: 100, phase: "asked", at: 4_100 },
      { runId: id, nap: 2, ms: 100, phase: "woke", at: 4_200 },
    ],
    readings: [{ runId: id, said: JSON.stringify(output) }],
    surprises: [],
    deaths: [],
    alarms: [],
    misfits: [],
    sessions: [],
    streams: [],
  };
}

function completed(n: number, given: ChaosProgram, returned: ChaosOutput) {
  const state = { status: "completed", output: JSON.stringify(returned) } as const;
  return queuedRun(n, { state, input: JSON.stringify(given), dueAt: null });
}

type ChaosPlant = (facts: ChaosFacts) => ChaosFacts;
const runIs = (facts: ChaosFacts, run: ChaosFacts["runs"][number]): ChaosFacts => ({ ...facts, runs: [run] });
const acts = (count: number): ChaosOp[] =>
  Array.from({ length: count }, (_, n) => ({ type: "act", id: n + 1, failures: 0, ms: 0 }));

const plants: Record<keyof typeof chaosCheckers, ChaosPlant[]> = {
  explained: [
    (facts) => ({ ...facts, harms: [] }),
    (facts) => ({ ...facts, harms: [{ what: "worker killed", pid: 9, from: 2_050, until: 2_050 }] }),
    (facts) => ({ ...facts, harms: [{ what: "server killed", pid: null, from: 5_000, until: 6_000 }] }),
    (facts) => ({ ...facts, effects: [...facts.effects, effect({ fence: 3, pid: 7, attempt: 2, at: 9_000 })] }),
  ],
  totals: [
    (facts) => runIs(facts, completed(1, program, { tally: { ...output.tally, acts: 2 } })),
    (facts) => runIs(facts, completed(1, { ...program, ending: "fail" }, output)),
    (facts) => runIs(facts, queuedRun(1, { state: runningState(), input: JSON.stringify(program) })),
    (facts) => runIs(facts, completed(1, { ...program, ops: acts(2) }, output)),
  ],
  witnessed: [
    (facts) => ({ ...facts, effects: [] }),
    (facts) => ({ ...facts, effects: [...facts.effects, effect({ task: "act-2" })] }),
  ],
  tries: [(facts) => ({ ...facts, effects: [...facts.effects, effect({ attempt: 4 })] })],
  naps: [
    (facts) => ({ ...facts, naps: facts.naps.map((nap) => (nap.phase === "woke" ? { ...nap, at: 4_199 } : nap)) }),
    (facts) => ({ ...facts, naps: facts.naps.filter(({ phase }) => phase === "woke") }),
  ],
  oneReading: [
    (facts) => ({ ...facts, readings: [...facts.readings, { runId: id, said: "failed" }] }),
    (facts) => ({ ...facts, readings: [...facts.readings, { runId: id, said: JSON.stringify({ tally: {} }) }] }),
    (facts) => ({ ...facts, runs: [] }),
  ],
  surprises: [(facts) => ({ ...facts, surprises: ["user-1 was told INTERNAL"] })],
  deaths: [(facts) => ({ ...facts, deaths: ["server-1 ended by itself with 1"] })],
  alarms: [(facts) => ({ ...facts, alarms: ["process 7: TypeError: x is undefined"] })],
  misfits: [(facts) => ({ ...facts, misfits: ["a run returns 2, and is recorded with 1"] })],
  sessions: [(facts) => ({ ...facts, sessions: ["1 sessions are idle in transaction"] })],
  streams: [(facts) => ({ ...facts, streams: ["3 messages are not acknowledged"] })],
};

describe("the checkers of the chaos", () => {
  it("find nothing in a sound record", () => {
    expect(found(chaosCheckers, sound())).toEqual([]);
  });

  it("take a new attempt of the run for a reason to begin again", () => {
    const mark = {
      type: "marked",
      mark: "attempt_failed",
      error: { name: "Error", message: "no" },
      retryAt: 3_000,
    } as const;
    const failed = entryWith(id, 1, mark, { address: "attempt:#1", at: 2_500 });
    expect(found(chaosCheckers, { ...sound(), harms: [], entries: [failed] })).toEqual([]);
  });

  it("let what ended with its parent be cancelled whatever its program says", () => {
    const follower = queuedRun(2, {
      state: { status: "cancelled" },
      input: JSON.stringify({ ...program, ops: [] }),
      parent: { id, address: "child:program#0" },
    });
    const facts = sound();
    expect(found(chaosCheckers, { ...facts, runs: [...facts.runs, follower] })).toEqual([]);
  });

  it("take what a process says of its own delays for a reason", () => {
    const said = "working\nlate 900 at 2900\nkept waiting 500 at 3000\n";
    expect(latenessOf(said, 7)).toEqual([
      { what: "late", pid: 7, from: 2_000, until: 2_900 },
      { what: "kept waiting", pid: 7, from: 2_500, until: 3_000 },
    ]);
    expect(found(chaosCheckers, { ...sound(), harms: latenessOf(said, 7) })).toEqual([]);
  });

  const cases = Object.entries(plants).flatMap(([name, all]) =>
    all.map((plant, index): [string, number, ChaosPlant] => [name, index + 1, plant]),
  );
  it.each(cases)("%s turns red (%i)", (name, _, plant) => {
    expect(found(chaosCheckers, plant(sound())).map((line) => line.split(":")[0])).toContain(name);
  });
});

describe("a completed run that is executed once more", () => {
  const heard: ChaosProgram = {
    ops: [
      { type: "hear", id: 1 },
      { type: "nap", id: 2, ms: 5 },
    ],
    ending: "return",
  };
  const run = completed(1, heard, { tally: { ...noTally(), naps: 1, heard: [0] } });
  const entries = [
    entryWith(
      id,
      1,
      { type: "arrived", name: "news", data: '{"n":0}' },
      { address: "arrival:news:news-0", attempt: 0 },
    ),
    entryWith(id, 2, { type: "received", name: "news", nth: 0 }, { address: "event:news:1#0" }),
    entryWith(id, 3, { type: "elapsed" }, { address: "sleep:nap-2#0" }),
  ];

  it("comes to the same", async () => {
    expect(await misfits({ runs: [run], entries })).toEqual([]);
  });

  it.each([
    ["an output that it does not return", [completed(1, heard, { tally: noTally() })], entries, /recorded with/],
    ["a wait that was never recorded", [run], entries.slice(0, 2), /wants to record sleep:nap-2#0/],
    [
      "a call that is not its own",
      [run],
      [...entries.slice(0, 2), entryWith(id, 3, { type: "elapsed" }, { address: "sleep:other#0" })],
      /stands before something new/,
    ],
  ])("is found out by %s", async (_, runs, recorded, why) => {
    expect(await misfits({ runs, entries: recorded })).toEqual([expect.stringMatching(why)]);
  });
});

describe("the model", () => {
  it("counts what stands in branches and children", () => {
    const child: ChaosProgram = { ops: acts(2), ending: "return" };
    const ops: ChaosOp[] = [
      {
        type: "all",
        branches: [
          acts(1),
          [
            { type: "hear", id: 8 },
            { type: "doom", id: 9 },
          ],
        ],
      },
      { type: "child", id: 10, program: child },
      { type: "patience", id: 11, ms: 1 },
    ];
    expect(tallyOf({ ops, ending: "return" })).toEqual({
      acts: 1,
      dooms: 1,
      naps: 0,
      heard: [0],
      choices: 1,
      children: 2,
    });
  });

  it("is met by programs of every kind of op and ending", () => {
    const programs = Array.from({ length: 300 }, (_, n) => drawProgram(prng(`program ${n}`)));
    const types = new Set(programs.flatMap(({ ops }) => ops.map(({ type }) => type)));
    expect([...types].sort()).toEqual(["act", "all", "child", "doom", "hear", "nap", "patience", "race"]);
    expect(new Set(programs.map(({ ending }) => ending)).size).toBe(4);
  });
});
