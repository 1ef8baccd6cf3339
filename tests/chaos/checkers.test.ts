/** Every checker of the chaos test finds a planted violation, and finds nothing in valid facts. */

import { describe, expect, it } from "vitest";
import { found } from "../end-to-end/invariants.ts";
import type { LedgerEffect } from "../end-to-end/ledger.ts";
import { prng } from "../simulate/prng.ts";
import { entryWith, queuedRun, runId, runningState } from "../suites/records.ts";
import { type ChaosFacts, chaosCheckers } from "./checkers.ts";
import { latenessOf } from "./harm.ts";
import { type ChaosOp, type ChaosOutput, type ChaosProgram, drawProgram, noTally, tallyOf } from "./program.ts";
import { replayFailures } from "./replay.ts";

const id = runId(1);

const program: ChaosProgram = {
  ops: [
    { type: "task", id: 1, failures: 1, ms: 0 },
    { type: "sleep", id: 2, ms: 100 },
    { type: "race", id: 3, ms: 20 },
  ],
  ending: "return",
};
const output: ChaosOutput = { tally: { tasks: 1, failedTasks: 0, sleeps: 1, messages: [], races: 1, children: 0 } };

function effect(differing: Partial<LedgerEffect> = {}): LedgerEffect {
  const made = {
    runId: id,
    key: `${id}:task:task-1:abc#0`,
    task: "task-1",
    attempt: 1,
    fence: 1,
    pid: 7,
    nonce: "n-1",
  };
  return { ...made, at: 2_000, ...differing };
}

/** The worker crashed after the first attempt of the task. Another repeated it, and its second attempt succeeded. */
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
    observedSleeps: [
      { runId: id, sleep: 2, ms: 100, phase: "begun", at: 4_100 },
      { runId: id, sleep: 2, ms: 100, phase: "ended", at: 4_200 },
    ],
    readings: [{ runId: id, result: JSON.stringify(output) }],
    clientErrors: [],
    exits: [],
    loggedErrors: [],
    replayFailures: [],
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
const tasks = (count: number): ChaosOp[] =>
  Array.from({ length: count }, (_, n) => ({ type: "task", id: n + 1, failures: 0, ms: 0 }));

const plants: Record<keyof typeof chaosCheckers, ChaosPlant[]> = {
  explained: [
    (facts) => ({ ...facts, harms: [] }),
    (facts) => ({ ...facts, harms: [{ what: "worker killed", pid: 9, from: 2_050, until: 2_050 }] }),
    (facts) => ({ ...facts, harms: [{ what: "server killed", pid: null, from: 5_000, until: 6_000 }] }),
    (facts) => ({ ...facts, effects: [...facts.effects, effect({ fence: 3, pid: 7, attempt: 2, at: 9_000 })] }),
  ],
  totals: [
    (facts) => runIs(facts, completed(1, program, { tally: { ...output.tally, tasks: 2 } })),
    (facts) => runIs(facts, completed(1, { ...program, ending: "fail" }, output)),
    (facts) => runIs(facts, queuedRun(1, { state: runningState(), input: JSON.stringify(program) })),
    (facts) => runIs(facts, completed(1, { ...program, ops: tasks(2) }, output)),
  ],
  witnessed: [
    (facts) => ({ ...facts, effects: [] }),
    (facts) => ({ ...facts, effects: [...facts.effects, effect({ task: "task-2" })] }),
  ],
  tries: [(facts) => ({ ...facts, effects: [...facts.effects, effect({ attempt: 4 })] })],
  observedSleeps: [
    (facts) => ({
      ...facts,
      observedSleeps: facts.observedSleeps.map((sleep) => (sleep.phase === "ended" ? { ...sleep, at: 4_199 } : sleep)),
    }),
    (facts) => ({ ...facts, observedSleeps: facts.observedSleeps.filter(({ phase }) => phase === "ended") }),
  ],
  oneReading: [
    (facts) => ({ ...facts, readings: [...facts.readings, { runId: id, result: "failed" }] }),
    (facts) => ({ ...facts, readings: [...facts.readings, { runId: id, result: JSON.stringify({ tally: {} }) }] }),
    (facts) => ({ ...facts, runs: [] }),
  ],
  clientErrors: [(facts) => ({ ...facts, clientErrors: ["user-1 received INTERNAL"] })],
  exits: [(facts) => ({ ...facts, exits: ["server-1 exited by itself with 1"] })],
  loggedErrors: [(facts) => ({ ...facts, loggedErrors: ["process 7: TypeError: x is undefined"] })],
  replayFailures: [(facts) => ({ ...facts, replayFailures: ["a run returns 2, but 1 is recorded"] })],
  sessions: [(facts) => ({ ...facts, sessions: ["1 sessions are idle in transaction"] })],
  streams: [(facts) => ({ ...facts, streams: ["3 messages are not acknowledged"] })],
};

describe("the checkers of the chaos", () => {
  it("the checkers of the chaos find nothing in valid facts", () => {
    expect(found(chaosCheckers, sound())).toEqual([]);
  });

  it("the checkers accept an effect that is repeated in a new attempt of the run", () => {
    const mark = {
      type: "marked",
      mark: "attempt_failed",
      error: { name: "Error", message: "no" },
      retryAt: 3_000,
    } as const;
    const failed = entryWith(id, 1, mark, { address: "attempt:#1", at: 2_500 });
    expect(found(chaosCheckers, { ...sound(), harms: [], entries: [failed] })).toEqual([]);
  });

  it("the checkers accept that a child is cancelled with its parent, whatever its program says", () => {
    const follower = queuedRun(2, {
      state: { status: "cancelled" },
      input: JSON.stringify({ ...program, ops: [] }),
      parent: { id, address: "child:program#0" },
    });
    const facts = sound();
    expect(found(chaosCheckers, { ...facts, runs: [...facts.runs, follower] })).toEqual([]);
  });

  it("the checkers accept an effect that is repeated after a delay that its process reported", () => {
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
  it.each(cases)("the checker %s finds planted violation %i", (name, _, plant) => {
    expect(found(chaosCheckers, plant(sound())).map((line) => line.split(":")[0])).toContain(name);
  });
});

describe("a completed run that is executed once more", () => {
  const program: ChaosProgram = {
    ops: [
      { type: "message", id: 1 },
      { type: "sleep", id: 2, ms: 5 },
    ],
    ending: "return",
  };
  const run = completed(1, program, { tally: { ...noTally(), sleeps: 1, messages: [0] } });
  const entries = [
    entryWith(
      id,
      1,
      { type: "arrived", name: "message", data: '{"n":0}' },
      { address: "arrival:message:message-0", attempt: 0 },
    ),
    entryWith(id, 2, { type: "received", name: "message", nth: 0 }, { address: "event:message:1#0" }),
    entryWith(id, 3, { type: "elapsed" }, { address: "sleep:sleep-2#0" }),
  ];

  it("a completed run that is replayed returns the recorded result and makes no new call", async () => {
    expect(await replayFailures({ runs: [run], entries })).toEqual([]);
  });

  it.each([
    ["an output that it does not return", [completed(1, program, { tally: noTally() })], entries, /but .* is recorded/],
    ["a wait that was never recorded", [run], entries.slice(0, 2), /wants to record sleep:sleep-2#0/],
    [
      "a call that the program does not make",
      [run],
      [...entries.slice(0, 2), entryWith(id, 3, { type: "elapsed" }, { address: "sleep:other#0" })],
      /waits for a call that is not recorded/,
    ],
  ])("the replay of a completed run detects %s", async (_, runs, recorded, why) => {
    expect(await replayFailures({ runs, entries: recorded })).toEqual([expect.stringMatching(why)]);
  });
});

describe("the model of a program", () => {
  it("the model of a program counts the operations in branches and children", () => {
    const child: ChaosProgram = { ops: tasks(2), ending: "return" };
    const ops: ChaosOp[] = [
      {
        type: "all",
        branches: [
          tasks(1),
          [
            { type: "message", id: 8 },
            { type: "failingTask", id: 9 },
          ],
        ],
      },
      { type: "child", id: 10, program: child },
      { type: "timedEvent", id: 11, ms: 1 },
    ];
    expect(tallyOf({ ops, ending: "return" })).toEqual({
      tasks: 1,
      failedTasks: 1,
      sleeps: 0,
      messages: [0],
      races: 1,
      children: 2,
    });
  });

  it("random programs contain every operation and every ending", () => {
    const programs = Array.from({ length: 300 }, (_, n) => drawProgram(prng(`program ${n}`)));
    const types = new Set(programs.flatMap(({ ops }) => ops.map(({ type }) => type)));
    expect([...types].sort()).toEqual([
      "all",
      "child",
      "failingTask",
      "message",
      "race",
      "sleep",
      "task",
      "timedEvent",
    ]);
    expect(new Set(programs.map(({ ending }) => ending)).size).toBe(4);
  });
});
