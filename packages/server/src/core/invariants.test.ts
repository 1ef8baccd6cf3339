import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  accepted,
  aRun,
  at,
  awaits,
  claimed,
  complete,
  event,
  go,
  kinds,
  now,
  queued,
  report,
  returned,
  running,
  settings,
  sleeps,
  suspend,
} from "../../test/runs.ts";
import { commands, states } from "../../test/states.ts";
import { begin, firstRun, type Step, steps, type Walked, walk } from "../../test/walk.ts";
import { decide } from "./decide.ts";
import { isFinal } from "./draft.ts";
import type { Command, Decision, Entry, Run } from "./run.ts";

/** Checks `holds` at every step of many random walks. */
function always(holds: (walked: Walked, journal: readonly Entry[]) => void): void {
  fc.assert(
    fc.property(fc.nat(5), steps, (choice, all: Step[]) => walk(firstRun(choice), all, holds)),
    { numRuns: 300 },
  );
}

/** The value, frozen at every depth: a write to it throws. */
function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const inner of value instanceof Map ? value.values() : Object.values(value)) {
      frozen(inner);
    }
    Object.freeze(value);
  }
  return value;
}

function decideInTurn(run: Run, ...all: Command[]): { run: Run; last: Decision } {
  let current = run;
  let last: Decision = { ok: true, run, entries: [], effects: [] };
  for (const command of all) {
    last = decide(current, command, at(now));
    current = last.ok ? last.run : current;
  }
  return { run: current, last };
}

describe("time", () => {
  it("time does not go back within a journal, whatever the server's clock says", () => {
    const run = aRun(running(), { updatedAt: now + 40 });
    const recorded = accepted(decide(run, report(go, { entries: [returned("task:a#0")] }), at(now)));
    expect([recorded.entries.map((entry) => entry.at), recorded.run.updatedAt]).toEqual([[now + 40], now + 40]);
    const later = accepted(decide(recorded.run, event("approved"), at(now + 41)));
    expect(later.entries.map((entry) => entry.at)).toEqual([now + 41]);
  });

  it("a server that lags at most one transaction uses the row's time, but a clock set back does not", () => {
    const record = (updatedAt: number) => {
      const run = aRun(running(), { updatedAt });
      const { entries } = accepted(decide(run, report(go, { entries: [returned("task:a#0")] }), at(now)));
      return entries.map((entry) => entry.at);
    };
    expect(record(now + 10_000)).toEqual([now + 10_000]);
    expect(record(now + 3_600_000)).toEqual([now]);
  });

  it("a lease is counted from the latest possible time, so its holder does not use it too long", () => {
    const { run } = accepted(decide(aRun(queued), claimed, { ...at(now), latest: now + 50 }));
    expect(run.state).toMatchObject({ leaseUntil: now + 50 + settings.unconfirmedLeaseMs });
  });
});

describe("R1: a decision reads exactly one run", () => {
  it("a decision concerns other runs only by effects that carry their id", () => {
    const child = aRun(running(), { parent: { id: "parent", address: "child:x#0" } });
    const { entries, effects } = accepted(decide(child, report(complete), at(now)));
    expect(entries.every(({ runId }) => runId === child.id)).toBe(true);
    expect(effects).toMatchObject([{ type: "send", to: "parent", command: { type: "receive" } }]);
  });
});

describe("R2: revision and fence only grow, and a final state absorbs every command", () => {
  it("R2: in every walk, a change of the row adds one to revision, and a claim adds one to fence", () => {
    always(({ before, after, command, decision }) => {
      const row = (run: Run) => JSON.stringify({ ...run, tail: 0, updatedAt: 0 });
      const isChanged = decision.ok && row(after) !== row(before);
      expect(after.revision - before.revision).toBe(isChanged ? 1 : 0);
      expect(after.fence - before.fence).toBe(decision.ok && command.type === "claim" ? 1 : 0);
    });
  });

  it("R2: in every walk, a run that has ended does not change and records nothing more", () => {
    always(({ before, after, decision }) => {
      if (isFinal(before.state)) {
        expect(after.state).toEqual(before.state);
        expect(after.tail).toBe(before.tail);
        expect(decision.ok ? decision.entries : []).toEqual([]);
      }
    });
  });
});

describe("R3: (attempt, address) holds one value for ever", () => {
  it("R3: in every walk, an attempt records each address once", () => {
    always((_, journal) => {
      const keys = journal.map(({ attempt, address }) => `${attempt} ${address}`);
      expect(new Set(keys).size).toBe(keys.length);
    });
  });

  it("R3: the same fact again is accepted and records nothing", () => {
    const entries = [returned("task:a#0")];
    const first = accepted(decide(aRun(running()), report(go, { entries }), at(now)));
    const again = accepted(decide(first.run, report(go, { entries, known: first.entries }), at(now)));
    expect(again.entries).toEqual([]);
    expect(again.run.revision).toBe(first.run.revision);
  });

  it("R3: another value at the same address is fenced", () => {
    const first = accepted(decide(aRun(running()), report(go, { entries: [returned("task:a#0", "1")] }), at(now)));
    const other = report(go, { entries: [returned("task:a#0", "2")], known: first.entries });
    expect(decide(first.run, other, at(now))).toMatchObject({ ok: false, code: "FENCED" });
  });

  it("R3: a report is fenced as a whole if only some of its facts are recorded", () => {
    const first = accepted(decide(aRun(running()), report(go, { entries: [returned("task:a#0")] }), at(now)));
    const entries = [returned("task:a#0"), returned("task:b#0")];
    expect(decide(first.run, report(go, { entries, known: first.entries }), at(now))).toMatchObject({ code: "FENCED" });
  });

  it("R3: two facts of one report at one address are refused as BAD_REQUEST, so it is not repeated", () => {
    const entries = [returned("task:a#0", "1"), returned("task:a#0", "2")];
    expect(decide(aRun(running()), report(go, { entries }), at(now))).toMatchObject({ code: "BAD_REQUEST" });
  });

  it("R3: a wait that one report opens twice takes one event", () => {
    const arrived = decideInTurn(aRun(running()), event("e1"));
    const wait = awaits("e1");
    const opened = decideInTurn(arrived.run, report(go, { opens: [wait, wait], seen: arrived.run.inbox }));
    expect(opened.run.waits).toEqual([]);
    expect(accepted(opened.last).entries.map(({ address }) => address)).toEqual([wait.address]);
  });

  it("R3: a late repeat of a report that started a child starts no second one", () => {
    const spec = { id: "child", name: "ship", versionId: "1" };
    const starting = report(go, { starts: [{ address: "child:x#0", spec }] });
    const first = accepted(decide(aRun(running()), starting, at(now)));
    const between = accepted(decide(first.run, report(go, { reportId: "r2", opens: [sleeps(9)] }), at(now)));
    const late = report(go, { starts: [{ address: "child:x#0", spec }], known: first.entries });
    const again = accepted(decide(between.run, late, at(now)));
    expect(again.effects).toEqual([]);
    expect(again.run.children).toBe(1);
  });
});

describe("R4: only the holder of the current fence may report or renew", () => {
  const fencedCommands: Array<[string, Command]> = [
    ["a report under an older fence", report(go, { fence: 2, entries: [returned("task:a#0")] })],
    ["a report under a fence never given", report(go, { fence: 4 })],
    ["a report of another session", report(go, { session: "session-2" })],
    ["a renew of another session", { type: "renew", session: "session-2", fence: 3, leaseMs: 1_000 }],
    ["a renew under an older fence", { type: "renew", session: "session-1", fence: 2, leaseMs: 1_000 }],
  ];

  it.each(fencedCommands)("R4: %s is fenced", (_, command) => {
    expect(decide(aRun(running()), command, at(now))).toMatchObject({ ok: false, code: "FENCED" });
  });

  it("R4: in every walk, a worker's entry is recorded under the current fence of the run", () => {
    always(({ before, command, decision }) => {
      if (decision.ok && decision.entries.length > 0 && command.type === "report") {
        expect(command.report.fence).toBe(before.fence);
        expect(before.state).toMatchObject({ status: "running", session: command.session });
      }
    });
  });
});

describe("R5: a run that is neither paused, stalled nor final is due, or waits for an event or a child", () => {
  it("R5: in every walk, dueAt is the earliest deadline of the run", () => {
    always(({ after, moment }) => expect(after.dueAt).toBe(earliest(after, moment.now)));
  });

  it("R5: in every walk, a run without a dueAt waits for an event or a child", () => {
    always(({ after, command }) => {
      const { state, waits } = after;
      if (after.dueAt === null && state.status !== "paused" && state.status !== "stalled" && !isFinal(state)) {
        const isAwaiting = waits.some(({ type }) => type === "event") || ("children" in state && state.children > 0);
        expect(isAwaiting, command.type).toBe(true);
      }
    });
  });

  it("R5: in every walk, a tick before dueAt is refused, and after a tick nothing is due", () => {
    always(({ before, after, command, decision, moment }) => {
      if (command.type === "tick") {
        expect(decision.ok).toBe(before.dueAt !== null && before.dueAt <= moment.now);
        if (decision.ok && !isFinal(before.state)) {
          expect(after.dueAt ?? Number.POSITIVE_INFINITY).toBeGreaterThan(moment.now);
        }
      }
    });
  });

  function earliest(run: Run, time: number): number | null {
    const { state, timeoutAt, waits } = run;
    if (isFinal(state)) {
      return run.children > 0 ? time : null;
    }
    const all: Array<number | null> = [timeoutAt];
    if (state.status !== "paused" && state.status !== "stalled") {
      all.push(...waits.map(({ until }) => until));
      all.push(state.status === "scheduled" ? state.at : null);
      all.push(state.status === "queued" ? state.redeliverAt : null);
      all.push(state.status === "running" ? state.leaseUntil : null);
      all.push(state.status === "awaiting_retry" ? state.retryAt : null);
    }
    const times = all.filter((one) => one !== null);
    return times.length === 0 ? null : Math.min(...times);
  }
});

describe("R6: a run is not suspended while its worker has not received an entry", () => {
  it("R6: in every walk, the worker that suspends a run has received every entry", () => {
    always(({ before, after, command, decision }) => {
      const isSuspended =
        before.state.status === "running" && after.state.status !== "running" && !isFinal(after.state);
      if (decision.ok && command.type === "report" && command.report.next.type === "suspend" && isSuspended) {
        expect(command.report.seen).toBe(after.inbox);
      }
    });
  });

  it("R6: a report that opens a wait for an event that has arrived does not suspend the run", () => {
    const { run } = decideInTurn(aRun(running()), event("paid"));
    const suspending = report(suspend, { seen: run.inbox, opens: [awaits("paid")] });
    const { run: after, entries } = accepted(decide(run, suspending, at(now)));
    expect(after.state.status).toBe("running");
    expect(kinds(entries)).toEqual(["received"]);
  });

  it("R6: a run with a pause request is not suspended before its worker receives the request", () => {
    const { run } = decideInTurn(aRun(running()), { type: "pause", signalId: "s", known: [] });
    const { run: after } = accepted(decide(run, report(suspend, { opens: [sleeps(500)] }), at(now)));
    expect(after.state).toMatchObject({ status: "running", pause: {} });
  });
});

describe("R7: wake-ups contain nothing that storage lacks", () => {
  it("R7: in every walk, a run with a wake-up is queued in storage", () => {
    always(({ after, decision }) => {
      if (decision.ok && decision.effects.some(({ type }) => type === "deliver")) {
        expect(after.state.status).toBe("queued");
      }
    });
  });
});

describe("R8: decide is pure", () => {
  it("R8: in every walk, deciding twice gives the same result and does not change the input", () => {
    always(({ before, command, moment, decision }) => {
      const copy = structuredClone(before);
      expect(decide(frozen(before), frozen(command), frozen(moment))).toEqual(decision);
      expect(before).toEqual(copy);
    });
  });

  it.each(Object.entries(states))("R8: no command changes a run in state %s that it is decided for", (_, run) => {
    const copy = structuredClone(run);
    for (const command of Object.values(commands)) {
      decide(frozen(run), frozen(command), begin);
    }
    expect(run).toEqual(copy);
  });

  it("R8: in every walk, entries follow the tail without gaps, at the time of the decision", () => {
    always(({ before, after, decision, moment }) => {
      const entries = decision.ok ? decision.entries : [];
      expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => before.tail + index + 1));
      expect(after.tail).toBe(before.tail + entries.length);
      expect(entries.every((entry) => entry.at === moment.now && entry.runId === before.id)).toBe(true);
    });
  });
});

describe("R9: crash loops are bounded", () => {
  /** The run after a worker claimed it, confirmed its lease unless `confirmed` is false, and crashed. */
  function crash(run: Run, confirmed = true): Run {
    const held = accepted(decide(run, claimed, at(now))).run;
    const renewed = confirmed
      ? accepted(decide(held, { type: "renew", session: "session-2", fence: held.fence, leaseMs: 5 }, at(now))).run
      : held;
    return accepted(decide(renewed, { type: "tick" }, at(renewed.dueAt ?? 0))).run;
  }

  it("R9: a run stalls if more confirmed leases than allowed ended without a report", () => {
    let run = aRun(queued);
    for (let crashes = 0; crashes < settings.maxCrashes; crashes++) {
      run = crash(run);
      expect(run.state.status).toBe("queued");
    }
    expect(crash(run).state).toEqual({ status: "stalled", reason: "crash_loop", crashes: settings.maxCrashes + 1 });
  });

  it("R9: unconfirmed leases do not count as crashes", () => {
    let run = aRun(queued);
    for (let lapse = 0; lapse < 10; lapse++) {
      run = crash(run, false);
    }
    expect(run).toMatchObject({ crashes: 0, lostLeases: 10, state: { status: "queued" } });
  });

  it("R9: an accepted report resets the count of crashes", () => {
    const crashed = crash(crash(aRun(queued)));
    const held = accepted(decide(crashed, claimed, at(now))).run;
    const reporting = report(go, { session: "session-2", fence: held.fence, entries: [returned("task:a#0")] });
    const { run } = accepted(decide(held, reporting, at(now)));
    expect(run).toMatchObject({ crashes: 0, lostLeases: 0 });
  });

  it("R9: a release does not reset the count of crashes", () => {
    const held = accepted(decide(crash(aRun(queued)), claimed, at(now))).run;
    const releasing = report({ type: "release", reason: "shutdown" }, { session: "session-2", fence: held.fence });
    expect(accepted(decide(held, releasing, at(now))).run.crashes).toBe(1);
  });

  it("R9: a suspension that waits for nothing is no crash, and stalls the run after one replay", () => {
    const suspended = (run: Run): Run => {
      const held = accepted(decide(run, claimed, at(now))).run;
      return accepted(decide(held, report(suspend, { session: "session-2", fence: held.fence }), at(now))).run;
    };
    const resumable = { session: "session-2", fence: 3, tail: 4, attempt: 1 };
    const resumed = aRun({ status: "queued", resumable, redeliveries: 0, redeliverAt: now + 1_000 });
    const replayed = suspended(resumed);
    expect(replayed).toMatchObject({ crashes: 0, state: { status: "queued", resumable: null } });
    expect(suspended(replayed)).toMatchObject({ crashes: 0, state: { status: "stalled", reason: "idle", idleMs: 0 } });
  });
});
