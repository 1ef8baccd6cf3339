/** Leases: which session may execute a run, until when, and how many leases may end without a report. */

import type { Address } from "@aikirun/lib/protocol";
import { change, type Draft, decided, draft, enqueue, isFinal, record, refuse } from "./draft.ts";
import type {
  Claim,
  Command,
  Decision,
  DecisionContext,
  ExecutedTry,
  PauseRequest,
  Resumable,
  Run,
  Stall,
  State,
  Suspension,
} from "./run.ts";

export function claim(run: Run, asked: Claim, moment: DecisionContext): Decision {
  const { state } = run;
  const { claimId, session, worker, leaseMs, build: id } = asked;
  if (!isClaimable(state, asked)) {
    return refuse(asked.reclaim === undefined ? "ILLEGAL_STATE" : "FENCED", `The run is ${state.status}.`);
  }
  const next = draft(run, moment);
  // If the answer is lost, the run is queued again before the whole lease has passed, and no crash is counted.
  const leaseUntil = moment.latest + Math.min(moment.settings.unconfirmedLeaseMs, leaseMs);
  // A repeated claim gets a new fence: the server that did not answer the first claim releases only that one's fence.
  change(next, {
    fence: Math.max(run.fence, moment.fenceFloor) + 1, // mutant: next-fence
    state: {
      status: "running",
      claimId,
      session,
      worker,
      leaseMs,
      leaseUntil,
      confirmed: false,
      resumable: resumableOf(state),
      ...(state.status === "running" && state.pause !== undefined && { pause: state.pause }),
      ...(id !== undefined && { holderCode: { id, after: run.tail } }),
    },
  });
  return decided(next);
}

function isClaimable(state: State, { session, reclaim, repeats }: Claim): boolean {
  if (reclaim !== undefined) {
    return isOwn(resumableOf(state), session, reclaim);
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
  { session, fence, leaseMs, tries: ongoing = [] }: Omit<Extract<Command, { type: "renew" }>, "type">,
  moment: DecisionContext,
): Decision {
  const { state } = run;
  if (isVoid(fence, moment) || !holds(run, session, fence) || state.status !== "running") {
    return fenced(run);
  }
  const next = draft(run, moment);
  const { tries: _, ...rest } = state;
  const tries = ongoing.map(({ runningMs, ...one }): ExecutedTry => ({ ...one, since: moment.now - runningMs }));
  const renewed = { ...rest, leaseMs, leaseUntil: moment.latest + leaseMs, confirmed: true };
  change(next, { state: tries.length === 0 ? renewed : { ...renewed, tries } });
  return decided(next);
}

/** Queues the run at once if the session executed it, without counting a crash. A suspended run will be replayed. */
export function leave(run: Run, { session }: { session: string }, moment: DecisionContext): Decision {
  const next = draft(run, moment);
  const { state } = run;
  if (state.status === "running") {
    if (state.session === session) {
      returnToQueue(next, state.pause);
    }
  } else if (state.status === "paused") {
    const { interrupted } = state;
    if (resumableOf(interrupted)?.session === session && "resumable" in interrupted) {
      change(next, { state: { ...state, interrupted: withoutResumable(interrupted, moment) } });
    }
  } else if (resumableOf(state)?.session === session && "resumable" in state) {
    change(next, { state: withoutResumable(state, moment) });
  }
  return decided(next);
}

/** The worker no longer caches the run. If the worker has not been checked since it suspended it, that is due now. */
function withoutResumable<Some extends Pick<Suspension, "resumable" | "checkWorkerAt" | "checkEveryMs">>(
  state: Some,
  { now }: DecisionContext,
): Some {
  const isFresh = state.checkWorkerAt !== undefined && state.checkEveryMs === undefined;
  return { ...state, resumable: null, ...(isFresh ? { checkWorkerAt: now } : {}) };
}

/** The session that executes the run, or that suspended it and may still be busy with its handler; null without one. */
export function holderOf(state: State): string | null {
  if (state.status === "running") {
    return state.session;
  }
  const mayBeBusy = "checkWorkerAt" in state && state.checkWorkerAt !== undefined && state.checkEveryMs === undefined;
  return mayBeBusy ? (state.resumable?.session ?? null) : null;
}

/** R4. */
export function holds(run: Run, session: string, fence: number): boolean {
  return run.state.status === "running" && run.fence === fence && run.state.session === session; // mutant: holder
}

/** Whether claims that gave out this fence, or a later one, may have been lost. */
export function isVoid(fence: number, { fenceFloor }: DecisionContext): boolean {
  return fence <= fenceFloor;
}

export function fenced(run: Run): Decision {
  return isFinal(run.state)
    ? refuse("RUN_FINAL", `The run has ended: ${run.state.status}.`)
    : refuse("FENCED", "This worker no longer holds the run.");
}

/** A lease ended without a report. */
export function recover(next: Draft): void {
  const { state } = next.before;
  if (state.status !== "running") {
    return;
  }
  const { confirmed } = state;
  // Its worker could not renew a lease whose fence is void.
  const isLapse = !isVoid(next.run.fence, next.moment);
  const crashes = next.run.crashes + (confirmed && isLapse ? 1 : 0); // mutant: crash-count
  record(next, `recovered:#${next.run.fence}`, { type: "marked", mark: "recovered", crashes, confirmed });
  change(next, { lostLeases: next.run.lostLeases + (isLapse ? 1 : 0) });
  change(next, { crashes });
  // R9
  if (crashes > next.moment.settings.maxCrashes) {
    stall(next, { reason: "crash_loop", crashes });
  } else {
    returnToQueue(next, state.pause);
  }
}

/** Stops the run until `retry` or `cancel`. */
export function stall(next: Draft, why: Stall): void {
  record(next, `stalled:#${next.run.fence}`, {
    type: "marked",
    mark: "stalled",
    reason: why.reason,
    ...refused(next, why),
  });
  change(next, { state: { status: "stalled", ...why } });
}

/** For a call that was ambiguous, a replay needs the open waits that are older than the stall. */
function refused({ run }: Draft, why: Stall): { identity?: string; waits?: Address[] } {
  if (why.reason !== "ambiguous_call") {
    return {};
  }
  const waits = run.waits.map(({ address }) => address).filter((address) => !address.includes("/"));
  return { identity: why.identity, ...(waits.length > 0 && { waits }) };
}

/** Takes the run from its worker: it is queued, or paused if a pause was requested. */
export function returnToQueue(next: Draft, pause: PauseRequest | undefined): void {
  enqueue(next, null);
  if (pause !== undefined) {
    setPaused(next, next.run.state, pause);
  }
}

/** Pauses the run. `resume` restores the interrupted state. */
export function setPaused(next: Draft, interrupted: State, request: PauseRequest): void {
  if (isInterruptible(interrupted)) {
    next.effects.splice(0, next.effects.length, ...next.effects.filter(({ type }) => type !== "deliver"));
    record(next, `paused:#${next.run.fence}.${next.run.revision}`, { type: "marked", mark: "paused" });
    change(next, { state: { status: "paused", interrupted, inbox: next.run.inbox, ...request } });
  }
}

function isInterruptible(state: State): state is Extract<State, { status: "paused" }>["interrupted"] {
  return state.status !== "running" && state.status !== "paused" && state.status !== "stalled" && !isFinal(state);
}

function resumableOf(state: State): Resumable | null {
  return "resumable" in state && state.status !== "running" ? state.resumable : null;
}

function isOwn(resumable: Resumable | null, session: string, fence: number): boolean {
  return resumable !== null && resumable.session === session && resumable.fence === fence;
}
