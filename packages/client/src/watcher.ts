import { AikiError, type Env } from "@aikirun/lib";
import { keepAlive } from "@aikirun/lib/internal";
import type { Api, RunId, RunStatus, RunView, Watched, WatchResult } from "@aikirun/lib/protocol";
import { budget } from "./budget.ts";

/** Waits for runs to reach a status, all of them through a few shared long polls. */
export interface Watcher {
  /**
   * The run's view once its status is one of `statuses`, or final. Rejects with `RUN_NOT_FOUND`, `ABORTED`, or the
   * fault that ended the long poll.
   */
  wait(runId: RunId, statuses: readonly RunStatus[], signal?: AbortSignal): Promise<RunView>;
  /** Rejects all waits, and those to come. */
  close(error: AikiError): void;
}

/** One long poll's length; proxies commonly cut at 60 s. Milliseconds. */
const waitMs = 25_000;
/** The pause after an empty answer that the server did not hold back. Milliseconds. */
const emptyRestMs = 200;
/** Runs in one long poll. */
const laneRuns = 1_000;
/** Long polls under way before new waits join an older one. */
const fewLanes = 8;

interface Interest {
  runId: RunId;
  statuses: readonly RunStatus[];
  resolve: (run: RunView) => void;
  reject: (error: unknown) => void;
  lane: Lane;
}

/** The runs of one long poll, before and during it. */
interface Lane {
  interests: Map<RunId, Set<Interest>>;
  /** Set while the long poll is under way. */
  leave: AbortController | null;
}

/**
 * A new wait never disturbs the long polls under way: it goes into one of its own, together with all that arrive in the
 * same turn. What an answered long poll still waits for is asked again, at a rate that the budget bounds, so that many
 * waits ending one by one cost a constant number of registrations per second instead of their square.
 */
export function watcher(api: Api, env: Env): Watcher {
  const lanes = new Set<Lane>();
  const spend = budget({ perMs: 20, burst: 2 * laneRuns }, env);
  let fresh: Lane | null = null;
  let closed: AikiError | null = null;
  let release: (() => void) | null = null;

  function wait(runId: RunId, statuses: readonly RunStatus[], signal?: AbortSignal): Promise<RunView> {
    return new Promise((resolve, reject) => {
      if (closed !== null || signal?.aborted === true) {
        reject(closed ?? gaveUp(runId, signal));
        return;
      }
      const lane = freshLane();
      const onAbort = () => {
        remove(interest);
        interest.reject(gaveUp(runId, signal));
      };
      const interest: Interest = {
        runId,
        statuses,
        lane,
        resolve: (run) => {
          signal?.removeEventListener("abort", onAbort);
          resolve(run);
        },
        reject: (error) => {
          signal?.removeEventListener("abort", onAbort);
          reject(error);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      add(lane, interest);
    });
  }

  function freshLane(): Lane {
    if (fresh !== null && fresh.interests.size < laneRuns) {
      return fresh;
    }
    const lane = newLane();
    fresh = lane;
    env.soon(() => depart(lane));
    return lane;
  }

  function newLane(): Lane {
    const lane: Lane = { interests: new Map(), leave: null };
    lanes.add(lane);
    release ??= keepAlive();
    return lane;
  }

  /** Sends a fresh lane on its way; when there are many, with an older one's runs, as fast as the budget allows. */
  function depart(lane: Lane): void {
    const absorbed = lanes.size > fewLanes ? smallestBeside(lane) : null;
    if (absorbed === null) {
      spend(lane.interests.size);
      launch(lane);
      return;
    }
    absorb(lane, absorbed);
    after(spend(lane.interests.size), () => launch(lane));
  }

  function smallestBeside(lane: Lane): Lane | null {
    let smallest: Lane | null = null;
    for (const other of lanes) {
      const size = other.interests.size;
      if (other !== lane && size + lane.interests.size <= laneRuns && size < (smallest?.interests.size ?? laneRuns)) {
        smallest = other;
      }
    }
    return smallest;
  }

  function absorb(lane: Lane, other: Lane): void {
    for (const interests of other.interests.values()) {
      for (const interest of interests) {
        add(lane, interest);
      }
    }
    other.interests = new Map();
    discard(other);
  }

  function launch(lane: Lane): void {
    if (fresh === lane) {
      fresh = null;
    }
    if (lane.interests.size === 0) {
      discard(lane);
      return;
    }
    const leave = new AbortController();
    lane.leave = leave;
    const askedAt = env.elapsed();
    const watched = Array.from(lane.interests, watchedOf);
    api.watch({ watched, waitMs }, { signal: leave.signal }).then(
      ({ results }) => land(lane, leave, results, env.elapsed() - askedAt),
      (error: unknown) => crash(lane, leave, error),
    );
  }

  function land(lane: Lane, leave: AbortController, results: WatchResult[], heldMs: number): void {
    if (leave.signal.aborted) {
      return;
    }
    lane.leave = null;
    for (const result of results) {
      settle(lane, result);
    }
    if (lane.interests.size === 0) {
      discard(lane);
    } else {
      // A server that is closing answers at once with nothing.
      const restMs = results.length === 0 && heldMs < waitMs / 2 ? emptyRestMs : 0;
      after(Math.max(restMs, spend(lane.interests.size)), () => launch(lane));
    }
  }

  function crash(lane: Lane, leave: AbortController, error: unknown): void {
    if (leave.signal.aborted) {
      return;
    }
    const failed = everyInterest(lane);
    discard(lane);
    for (const interest of failed) {
      interest.reject(error);
    }
  }

  function settle(lane: Lane, result: WatchResult): void {
    const runId = result.type === "status" ? result.run.id : result.runId;
    for (const interest of [...(lane.interests.get(runId) ?? [])]) {
      if (result.type === "lost") {
        remove(interest);
        interest.reject(new AikiError(result.code, `There is no run ${runId} here.`, { ids: { runId } }));
      } else if (result.type === "status" && isMet(interest, result.run)) {
        remove(interest);
        interest.resolve(result.run);
      }
    }
  }

  function remove(interest: Interest): void {
    const { lane, runId } = interest;
    const interests = lane.interests.get(runId);
    interests?.delete(interest);
    if (interests?.size === 0) {
      lane.interests.delete(runId);
    }
    if (lane.interests.size === 0 && lane.leave !== null) {
      discard(lane);
    }
  }

  function discard(lane: Lane): void {
    lanes.delete(lane);
    lane.interests = new Map();
    lane.leave?.abort();
    lane.leave = null;
    if (fresh === lane) {
      fresh = null;
    }
    if (lanes.size === 0) {
      release?.();
      release = null;
    }
  }

  function after(delayMs: number, then: () => void): void {
    if (delayMs === 0) {
      then();
    } else {
      env.after(delayMs, then);
    }
  }

  return {
    wait,
    close(error) {
      closed ??= error;
      for (const lane of [...lanes]) {
        const pending = everyInterest(lane);
        discard(lane);
        for (const interest of pending) {
          interest.reject(error);
        }
      }
    },
  };
}

function add(lane: Lane, interest: Interest): void {
  interest.lane = lane;
  const interests = lane.interests.get(interest.runId);
  if (interests === undefined) {
    lane.interests.set(interest.runId, new Set([interest]));
  } else {
    interests.add(interest);
  }
}

function everyInterest(lane: Lane): Interest[] {
  return [...lane.interests.values()].flatMap((interests) => [...interests]);
}

function watchedOf([runId, interests]: [RunId, Set<Interest>]): Watched {
  const statuses = new Set<RunStatus>();
  for (const interest of interests) {
    for (const status of interest.statuses) {
      statuses.add(status);
    }
  }
  return { type: "status", runId, statuses: [...statuses] };
}

function isMet({ statuses }: Interest, { status, outcome }: RunView): boolean {
  return outcome !== undefined || statuses.includes(status);
}

function gaveUp(runId: RunId, signal: AbortSignal | undefined): AikiError {
  return new AikiError("ABORTED", `The caller gave up waiting for run ${runId}.`, {
    cause: signal?.reason,
    ids: { runId },
  });
}
