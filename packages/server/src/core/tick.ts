/** Ticks of due runs: delayed start, sleep, retry delay, timeout, lost wake-up, end of a lease, dead worker. */

import { receivedBy } from "./bind.ts";
import { recover } from "./claim.ts";
import {
  arrive,
  change,
  type Draft,
  decided,
  draft,
  end,
  enqueue,
  isFinal,
  record,
  recordEnd,
  refuse,
} from "./draft.ts";
import type { Decision, DecisionContext, Run, State, SuspendedStatus, Wait } from "./run.ts";

export function tick(run: Run, isHolderAlive: boolean, moment: DecisionContext): Decision {
  if (run.dueAt === null || run.dueAt > moment.now) {
    return refuse("NOT_DUE", "Nothing of this run is due.");
  }
  const next = draft(run, moment);
  if (isFinal(run.state)) {
    change(next, {});
    next.effects.push({ type: "cancelChildren", of: run.id });
  } else if (run.timeoutAt !== null && run.timeoutAt <= moment.now) {
    expire(next);
  } else {
    advance(next, elapse(next), isHolderAlive);
  }
  return decided(next);
}

/** Whether it is time to check that the worker that suspended the run is alive. */
export function isWorkerCheckDue(state: State, now: number): state is Extract<State, { status: SuspendedStatus }> {
  return "checkWorkerAt" in state && state.checkWorkerAt !== undefined && state.checkWorkerAt <= now;
}

function expire(next: Draft): void {
  const { timeoutMs = 0 } = next.run.options;
  const message = `The run did not end within its timeout of ${timeoutMs} ms.`;
  record(next, "timed_out:#0", { type: "marked", mark: "timed_out" });
  end(next, { status: "failed", error: { name: "RunTimeoutError", code: "RUN_TIMED_OUT", message } });
}

/** The time between the first check and the second, as a multiple of the setting `aliveMs`. */
const secondCheckTimes = 10;

/**
 * If the worker that suspended the run is gone, the run is queued, to be replayed: the handler may have awaited
 * something that is not durable, and the waits that are open may never end.
 */
function checkWorker(next: Draft, state: Extract<State, { status: SuspendedStatus }>, isHolderAlive: boolean): void {
  if (!isWorkerCheckDue(state, next.moment.now)) {
    return;
  }
  const { bootAt, now, settings } = next.moment;
  // A server that has just started may not have received a heartbeat of the worker yet.
  const grace = bootAt + settings.aliveMs;
  if (isHolderAlive) {
    // The worker may want to reclaim the run and have no free slot, so it is checked again while the run waits.
    const { checkEveryMs: before } = state;
    const checkEveryMs = before === undefined ? secondCheckTimes * settings.aliveMs : 2 * before;
    change(next, { state: { ...state, checkWorkerAt: now + checkEveryMs, checkEveryMs } });
  } else if (state.resumable !== null && now < grace) {
    change(next, { state: { ...state, checkWorkerAt: grace } });
  } else {
    enqueue(next, null);
  }
}

/** Ends every wait whose deadline has passed. Returns whether there was one. */
function elapse(next: Draft): boolean {
  const { now } = next.moment;
  const { waits } = next.run;
  const passed = waits.filter((wait) => wait.until !== null && wait.until <= now).sort(byDeadline); // mutant: timer-due
  for (const wait of passed) {
    // If an event has arrived, the wait gets it although its deadline has passed.
    const value = wait.type === "event" ? receivedBy(next, wait.name ?? "") : null;
    recordEnd(next, wait, value ?? { type: "elapsed" });
    arrive(next);
  }
  if (passed.length > 0) {
    const ended = new Set(passed);
    change(next, { waits: waits.filter((wait) => !ended.has(wait)) });
  }
  return passed.length > 0;
}

function byDeadline(a: Wait, b: Wait): number {
  return (a.until ?? 0) - (b.until ?? 0);
}

/** Handles what is due in this state. An elapsed wait queues a suspended run; a running one stays with its worker. */
function advance(next: Draft, elapsed: boolean, isHolderAlive: boolean): void {
  const { now, bootAt, settings } = next.moment;
  const { state } = next.run;
  change(next, {});
  switch (state.status) {
    case "scheduled":
      if (state.at <= now) {
        enqueue(next, null);
      }
      return;
    case "queued":
      if (state.redeliverAt <= now) {
        const delay = Math.min(settings.redeliverMs * 2 ** (state.redeliveries + 1), settings.maxRedeliverMs);
        change(next, { state: { ...state, redeliveries: state.redeliveries + 1, redeliverAt: now + delay } });
        next.effects.push({ type: "deliver", run: next.run });
      }
      return;
    case "running": {
      // The worker may have renewed in vain while this server was down: no lease ends soon after the server's start.
      const grace = Math.min(bootAt + state.leaseMs, now + state.leaseMs);
      const hasExpired = state.leaseUntil <= now; // mutant: lease-ended
      if (hasExpired && now < grace) {
        change(next, { state: { ...state, leaseUntil: grace } });
      } else if (hasExpired) {
        recover(next);
      }
      return;
    }
    case "awaiting_retry":
      if (elapsed || (state.retryAt !== null && state.retryAt <= now)) {
        enqueue(next, state.resumable);
      } else {
        checkWorker(next, state, isHolderAlive);
      }
      return;
    case "sleeping":
    case "awaiting_event":
    case "awaiting_child_workflow":
      if (elapsed) {
        enqueue(next, state.resumable);
      } else {
        checkWorker(next, state, isHolderAlive);
      }
      return;
    case "paused":
    case "stalled":
    case "completed":
    case "failed":
    case "cancelled":
      return;
    default:
      state satisfies never;
  }
}
