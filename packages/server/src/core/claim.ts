/** Leases: who may execute a run, until when, and how often that may go wrong. */

import { change, type Draft, decided, draft, enqueue, isFinal, record, refuse } from "./draft.ts";
import type { Claim, Decision, Held, Moment, Run, State } from "./run.ts";

export function claim(run: Run, asked: Claim, moment: Moment): Decision {
  const { state } = run;
  const { claimId, session, worker, leaseMs } = asked;
  if (!isToBeHad(state, asked)) {
    return refuse(asked.reclaim === undefined ? "ILLEGAL_STATE" : "FENCED", `The run is ${state.status}.`);
  }
  const next = draft(run, moment);
  // An answer that never arrives must not cost a whole lease, nor be counted as a crash.
  const leaseUntil = moment.latest + Math.min(moment.settings.unconfirmedLeaseMs, leaseMs);
  // A repeat has a fence of its own: the server that failed to answer the first claim can give up only what that took.
  change(next, {
    fence: run.fence + 1,
    state: {
      status: "running",
      claimId,
      session,
      worker,
      leaseMs,
      leaseUntil,
      confirmed: false,
      pauseRequested: state.status === "running" && state.pauseRequested,
      held: heldBy(state),
    },
  });
  return decided(next);
}

function isToBeHad(state: State, { session, reclaim, repeats }: Claim): boolean {
  if (reclaim !== undefined) {
    return isOwn(heldBy(state), session, reclaim);
  }
  if (repeats !== undefined) {
    const isOurs = state.status === "running" && state.session === session && repeats.includes(state.claimId);
    // Once confirmed, its answer has arrived.
    return isOurs && !state.confirmed;
  }
  return state.status === "queued";
}

/** A repeated heartbeat is harmless, so it carries no id. */
export function renew(
  run: Run,
  { session, fence, leaseMs }: { session: string; fence: number; leaseMs: number },
  moment: Moment,
): Decision {
  const { state } = run;
  if (!holds(run, session, fence) || state.status !== "running") {
    return fenced(run);
  }
  const next = draft(run, moment);
  change(next, { state: { ...state, leaseMs, leaseUntil: moment.latest + leaseMs, confirmed: true } });
  return decided(next);
}

/** R4. */
export function holds(run: Run, session: string, fence: number): boolean {
  return run.state.status === "running" && run.fence === fence && run.state.session === session;
}

export function fenced(run: Run): Decision {
  return isFinal(run.state)
    ? refuse("RUN_FINAL", `The run has ended: ${run.state.status}.`)
    : refuse("FENCED", "The run is no longer in the hands of this worker.");
}

/** A lease ended without a report. */
export function recover(next: Draft): void {
  const { state } = next.before;
  if (state.status !== "running") {
    return;
  }
  const { confirmed } = state;
  const crashes = next.run.crashes + (confirmed ? 1 : 0);
  record(next, `recovered:#${next.run.fence}`, { type: "marked", mark: "recovered", crashes, confirmed });
  change(next, { lapses: next.run.lapses + 1 });
  crash(next, crashes, state.pauseRequested);
}

/** R9: hands the run on, unless it brought down one worker too many. */
export function crash(next: Draft, crashes: number, pauseRequested: boolean): void {
  change(next, { crashes });
  if (crashes > next.moment.settings.maxCrashes) {
    record(next, `stalled:#${next.run.fence}`, { type: "marked", mark: "stalled", reason: "crash_loop" });
    change(next, { state: { status: "stalled", reason: "crash_loop", crashes } });
  } else {
    handBack(next, pauseRequested);
  }
}

/** Out of the worker's hands: queued, or paused when that was asked for. */
export function handBack(next: Draft, pauseRequested: boolean): void {
  enqueue(next, null);
  if (pauseRequested) {
    park(next, next.run.state);
  }
}

/** Turns the state that a run goes to into `paused`, to be restored by `resume`. */
export function park(next: Draft, interrupted: State): void {
  if (isInterruptible(interrupted)) {
    next.effects.splice(0, next.effects.length, ...next.effects.filter(({ type }) => type !== "deliver"));
    record(next, `paused:#${next.run.fence}.${next.run.revision}`, { type: "marked", mark: "paused" });
    change(next, { state: { status: "paused", interrupted, inbox: next.run.inbox } });
  }
}

function isInterruptible(state: State): state is Extract<State, { status: "paused" }>["interrupted"] {
  return state.status !== "running" && state.status !== "paused" && state.status !== "stalled" && !isFinal(state);
}

function heldBy(state: State): Held | null {
  return "held" in state && state.status !== "running" ? state.held : null;
}

function isOwn(held: Held | null, session: string, fence: number): boolean {
  return held !== null && held.session === session && held.fence === fence;
}
