import { readFileSync } from "node:fs";
import { runStatuses } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { commands, decideAt, describeDecision, states } from "../../test/states.ts";

const inHand = "running resumed unconfirmed pausing";
const suspended = "sleeping awaiting_event awaiting_child_workflow awaiting_retry awaiting_task";
const paused = "paused_scheduled paused_queued paused_sleeping paused_event paused_child paused_retry paused_task";
const stalled = "crash_loop diverged";
const final = "completed failed cancelled failed_children";
const live = `scheduled queued ${inHand} ${suspended} ${paused} ${stalled}`;
/** No worker holds the run, and it has not ended. */
const free = `scheduled queued ${suspended} ${paused} ${stalled}`;

/** The results of a worker's command for a run that the worker does not hold. */
const notHeld = { FENCED: free, RUN_FINAL: final };

/** For each command: its results, and for which states it has each result. */
const table: Record<string, Record<string, string>> = {
  tick: {
    "queued >deliver": "scheduled queued awaiting_retry",
    "queued +recovered >deliver": "running resumed unconfirmed",
    "paused(queued) +recovered +paused": "pausing",
    "queued +elapsed >deliver": "sleeping awaiting_event awaiting_task",
    "failed >cancelChildren": "failed_children",
    NOT_DUE: `awaiting_child_workflow ${paused} ${stalled} completed failed cancelled`,
  },
  claim: {
    "running unconfirmed": "queued",
    ILLEGAL_STATE: `scheduled ${inHand} ${suspended} ${paused} ${stalled} ${final}`,
  },
  reclaim: {
    "running unconfirmed": "sleeping awaiting_event awaiting_child_workflow awaiting_task",
    FENCED: `scheduled queued ${inHand} awaiting_retry ${paused} ${stalled} ${final}`,
  },
  "reclaim of another session": { FENCED: `${live} ${final}` },
  "claim again": {
    "running unconfirmed": "unconfirmed",
    ILLEGAL_STATE: `scheduled queued running resumed pausing ${suspended} ${paused} ${stalled} ${final}`,
  },
  "claim again of another session": { ILLEGAL_STATE: `${live} ${final}` },
  "claim again of another claim": { ILLEGAL_STATE: `${live} ${final}` },
  renew: { running: "running resumed unconfirmed", "running pausing": "pausing", ...notHeld },
  "renew under an old fence": { FENCED: live, RUN_FINAL: final },
  leave: {
    "queued >deliver": "running resumed unconfirmed",
    "paused(queued) +paused": "pausing",
    sleeping: "sleeping",
    awaiting_event: "awaiting_event",
    awaiting_child_workflow: "awaiting_child_workflow",
    awaiting_retry: "awaiting_task",
    "paused(sleeping)": "paused_sleeping",
    "paused(awaiting_event)": "paused_event",
    "paused(awaiting_child_workflow)": "paused_child",
    "paused(awaiting_retry)": "paused_task",
    same: `scheduled queued awaiting_retry paused_scheduled paused_queued paused_retry ${stalled} ${final}`,
  },
  "leave of another session": { same: `${live} ${final}` },
  "report continue": { "same +returned": inHand, ...notHeld },
  "report continue under an old fence": { FENCED: live, RUN_FINAL: final },
  "report suspend": { sleeping: "running resumed unconfirmed", "paused(sleeping) +paused": "pausing", ...notHeld },
  "report suspend before new entries": { "same +returned": inHand, ...notHeld },
  "report suspend on nothing": {
    "queued >deliver": "resumed",
    "stalled(idle) +stalled": "running unconfirmed pausing",
    ...notHeld,
  },
  "report release": {
    "queued >deliver": "running resumed unconfirmed",
    "paused(queued) +paused": "pausing",
    ...notHeld,
  },
  "report stall": { "stalled(diverged) +stalled": inHand, ...notHeld },
  "report finish completed": { "completed +returned": inHand, ...notHeld },
  "report finish failed": { failed: inHand, ...notHeld },
  "report finish to retry": {
    "awaiting_retry +attempt_failed": "running resumed unconfirmed",
    "paused(awaiting_retry) +attempt_failed +paused": "pausing",
    ...notHeld,
  },
  "receive event": {
    "scheduled +arrived": "scheduled",
    "queued +arrived": "queued",
    "queued +arrived +received >deliver": "awaiting_event",
    "running +arrived": "running resumed",
    "running unconfirmed +arrived": "unconfirmed",
    "running pausing +arrived": "pausing",
    "sleeping +arrived": "sleeping",
    "awaiting_child_workflow +arrived": "awaiting_child_workflow",
    "awaiting_retry +arrived": "awaiting_retry awaiting_task",
    "paused(scheduled) +arrived": "paused_scheduled",
    "paused(queued) +arrived": "paused_queued",
    "paused(sleeping) +arrived": "paused_sleeping",
    "paused(awaiting_event) +arrived +received": "paused_event",
    "paused(awaiting_child_workflow) +arrived": "paused_child",
    "paused(awaiting_retry) +arrived": "paused_retry paused_task",
    "stalled(crash_loop) +arrived": "crash_loop",
    "stalled(diverged) +arrived": "diverged",
    RUN_FINAL: final,
  },
  "receive child": {
    "scheduled +returned": "scheduled",
    "queued +returned": "queued",
    "queued +returned >deliver": "awaiting_child_workflow",
    "running +returned": "running resumed",
    "running unconfirmed +returned": "unconfirmed",
    "running pausing +returned": "pausing",
    "sleeping +returned": "sleeping",
    "awaiting_event +returned": "awaiting_event",
    "awaiting_retry +returned": "awaiting_retry awaiting_task",
    "paused(scheduled) +returned": "paused_scheduled",
    "paused(queued) +returned": "paused_queued",
    "paused(sleeping) +returned": "paused_sleeping",
    "paused(awaiting_event) +returned": "paused_event",
    "paused(awaiting_child_workflow) +returned": "paused_child",
    "paused(awaiting_retry) +returned": "paused_retry paused_task",
    "stalled(crash_loop) +returned": "crash_loop",
    "stalled(diverged) +returned": "diverged",
    RUN_FINAL: final,
  },
  cancel: {
    "cancelled +cancelled": without(live, "awaiting_child_workflow paused_child"),
    "cancelled +cancelled >cancelChildren": "awaiting_child_workflow paused_child",
    same: "cancelled",
    RUN_FINAL: "completed failed failed_children",
  },
  pause: {
    "paused(scheduled) +pause_requested +paused": "scheduled",
    "paused(queued) +pause_requested +paused": "queued",
    "running pausing +pause_requested": "running resumed pausing",
    "running unconfirmed pausing +pause_requested": "unconfirmed",
    "paused(sleeping) +pause_requested +paused": "sleeping",
    "paused(awaiting_event) +pause_requested +paused": "awaiting_event",
    "paused(awaiting_child_workflow) +pause_requested +paused": "awaiting_child_workflow",
    "paused(awaiting_retry) +pause_requested +paused": "awaiting_retry awaiting_task",
    same: paused,
    ILLEGAL_STATE: stalled,
    RUN_FINAL: final,
  },
  resume: {
    "running +resumed": "pausing",
    "scheduled +resumed": "paused_scheduled",
    "queued +resumed >deliver": "paused_queued",
    "sleeping +resumed": "paused_sleeping",
    "awaiting_event +resumed": "paused_event",
    "awaiting_child_workflow +resumed": "paused_child",
    "awaiting_retry +resumed": "paused_retry paused_task",
    ILLEGAL_STATE: `scheduled queued running resumed unconfirmed ${suspended} ${stalled}`,
    RUN_FINAL: final,
  },
  wake: {
    "queued +woken >deliver": "scheduled awaiting_retry",
    "queued +woken +elapsed >deliver": "sleeping awaiting_task",
    "paused(sleeping) +woken +elapsed": "paused_sleeping",
    ILLEGAL_STATE: without(live, "scheduled sleeping awaiting_retry awaiting_task paused_sleeping"),
    RUN_FINAL: final,
  },
  retry: {
    "queued +retried >deliver": `awaiting_retry ${stalled}`,
    "queued +retried +elapsed >deliver": "awaiting_task",
    "same >start": "failed cancelled failed_children",
    ILLEGAL_STATE: `scheduled queued ${inHand} sleeping awaiting_event awaiting_child_workflow ${paused}`,
    RUN_FINAL: "completed",
  },
  orphan: {
    "cancelled +cancelled": without(live, "awaiting_child_workflow paused_child"),
    "cancelled +cancelled >cancelChildren": "awaiting_child_workflow paused_child",
    RUN_FINAL: final,
  },
  childless: {
    failed: "failed_children",
    same: "completed failed cancelled",
    ILLEGAL_STATE: live,
  },
};

function without(all: string, some: string): string {
  const left = new Set(some.split(" "));
  return all
    .split(" ")
    .filter((state) => !left.has(state))
    .join(" ");
}

describe.each(Object.entries(table))("%s", (name, outcomes) => {
  const cells = Object.entries(outcomes).flatMap(([outcome, group]) =>
    group.split(" ").map((state) => [state, outcome] as const),
  );

  it.each(cells)(`${name} in state %s has the result: %s`, (state, outcome) => {
    const run = states[state];
    const command = commands[name];
    if (run === undefined || command === undefined) {
      throw new Error(`The table has ${name} for ${state}, which is no known state or command.`);
    }
    expect(describeDecision(run, decideAt(command, run))).toBe(outcome);
  });

  it(`the table has every state once for ${name}`, () => {
    expect(cells.map(([state]) => state).sort()).toEqual(Object.keys(states).sort());
  });
});

describe("the table", () => {
  it("the table has every status of the protocol", () => {
    const seen = new Set(Object.values(states).map(({ state }) => state.status));
    expect([...seen].sort()).toEqual([...runStatuses].sort());
  });

  it("the table has every status that a pause can interrupt", () => {
    const seen = Object.values(states).flatMap(({ state }) =>
      state.status === "paused" ? [state.interrupted.status] : [],
    );
    const inHandOrStopped = ["running", "paused", "stalled", "completed", "failed", "cancelled"];
    expect([...new Set(seen)].sort()).toEqual(runStatuses.filter((status) => !inHandOrStopped.includes(status)).sort());
  });

  it("the table has every command that the core decides", () => {
    const source = readFileSync(new URL("decide.ts", import.meta.url), "utf8");
    const decided = [...source.matchAll(/case "(\w+)":/g)].map((found) => found[1]);
    const seen = new Set(Object.values(commands).map(({ type }) => type));
    expect([...seen].sort()).toEqual(decided.sort());
    expect(Object.keys(table).sort()).toEqual(Object.keys(commands).sort());
  });
});
