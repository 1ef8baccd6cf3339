import { backoffMs } from "@aikirun/client/internal";
import type { AikiError, Cancel, Env } from "@aikirun/lib";
import { type Api, type Entry, limits, type RunId, type WatchResult } from "@aikirun/lib/protocol";

/** A run under way, as far as news of it matters. */
export interface Hearer {
  readonly runId: RunId;
  readonly fence: number;
  /** What its execution knows. */
  readonly position: { readonly seen: number; readonly after: number };
  /** It has waits open while it runs: news moves it. */
  readonly isListening: boolean;
  /** Monotonic milliseconds at which it was taken. */
  readonly heldAt: number;
  hear(entries: Entry[], inbox: number): void;
  pause(): void;
  lost(code: AikiError["code"]): void;
}

/** One `watch` over the runs under way: their news, pauses, and losses. */
export interface News {
  add(hearer: Hearer): void;
  remove(hearer: Hearer): void;
  /** The run listens now. */
  listening(): void;
  close(): void;
}

/** Most runs end sooner; they are not worth a watch. Milliseconds. */
const worthWatchingMs = 50;
/** The least time between two questions. Milliseconds. */
const betweenMs = 20;
/** A run whose answer changed nothing is left out for so long; one that is being paused for longer. Milliseconds. */
const mutedMs = 100;
const pausedMutedMs = 1_000;
const waitMs = 25_000;

interface Watching {
  leave: AbortController;
  hearers: ReadonlySet<Hearer>;
  /** Monotonic milliseconds. */
  at: number;
}

export function news(api: Api, env: Env): News {
  const hearers = new Set<Hearer>();
  const mutedUntil = new Map<Hearer, number>();
  let watching: Watching | null = null;
  let timer: { at: number; cancel: Cancel } | null = null;
  let askedAt = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let isClosed = false;

  /** Looks at this moment (or earlier, when that was asked for) whether there is somebody new to ask for. */
  function wakeAt(moment: number): void {
    const at = Math.max(moment, askedAt + betweenMs, env.elapsed());
    if (isClosed || (timer !== null && timer.at <= at)) {
      return;
    }
    timer?.cancel();
    timer = { at, cancel: env.after(at - env.elapsed(), look) };
  }

  function look(): void {
    timer = null;
    const wanted = [...hearers].filter(isWanted).slice(0, limits.watchedItems);
    if (wanted.some((hearer) => watching?.hearers.has(hearer) !== true)) {
      ask(wanted);
    }
    wakeForLater();
  }

  function isWanted(hearer: Hearer): boolean {
    const now = env.elapsed();
    return wantedFrom(hearer) <= now;
  }

  function wantedFrom(hearer: Hearer): number {
    const from = hearer.isListening ? hearer.heldAt : hearer.heldAt + worthWatchingMs;
    return Math.max(from, mutedUntil.get(hearer) ?? 0);
  }

  function wakeForLater(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const hearer of hearers) {
      if (watching?.hearers.has(hearer) !== true) {
        next = Math.min(next, wantedFrom(hearer));
      }
    }
    if (next < Number.POSITIVE_INFINITY) {
      wakeAt(next);
    }
  }

  function ask(wanted: Hearer[]): void {
    watching?.leave.abort();
    const mine: Watching = { leave: new AbortController(), hearers: new Set(wanted), at: env.elapsed() };
    watching = mine;
    askedAt = mine.at;
    const watched = wanted.map(({ runId, fence, position: { seen, after } }) => ({
      type: "news" as const,
      runId,
      fence,
      seen,
      after,
    }));
    api.watch({ watched, waitMs }, { signal: mine.leave.signal }).then(
      ({ results }) => {
        // A server that is closing answers at once with nothing.
        const isServed = results.length > 0 || env.elapsed() - mine.at >= waitMs / 2;
        answered(mine, results, isServed);
      },
      () => answered(mine, [], false),
    );
  }

  function answered(mine: Watching, results: WatchResult[], isServed: boolean): void {
    if (watching !== mine) {
      return;
    }
    watching = null;
    failures = isServed ? 0 : failures + 1;
    if (failures > 0) {
      askedAt = env.elapsed() + backoffMs(env, failures, 2_000);
    }
    tell(mine, results);
    wakeForLater();
  }

  function tell({ hearers: asked }: Watching, results: WatchResult[]): void {
    const byRun = new Map([...asked].map((hearer) => [hearer.runId, hearer]));
    for (const result of results) {
      const hearer = result.type === "status" ? undefined : byRun.get(result.runId);
      if (hearer !== undefined && hearers.has(hearer)) {
        deliver(hearer, result);
      }
    }
  }

  function deliver(hearer: Hearer, result: WatchResult): void {
    if (result.type === "lost") {
      remove(hearer);
      hearer.lost(result.code);
    } else if (result.type === "news") {
      const { seen, after } = hearer.position;
      hearer.hear(result.entries, result.inbox);
      if (result.pause) {
        hearer.pause();
        mute(hearer, pausedMutedMs);
      } else if (hearer.position.seen === seen && hearer.position.after === after) {
        mute(hearer, mutedMs);
      }
    }
  }

  function mute(hearer: Hearer, ms: number): void {
    mutedUntil.set(hearer, env.elapsed() + ms);
  }

  function remove(hearer: Hearer): void {
    hearers.delete(hearer);
    mutedUntil.delete(hearer);
    if (hearers.size === 0) {
      watching?.leave.abort();
      watching = null;
    }
  }

  return {
    add(hearer) {
      hearers.add(hearer);
      wakeAt(wantedFrom(hearer));
    },
    remove,
    listening: () => wakeAt(env.elapsed()),
    close() {
      isClosed = true;
      timer?.cancel();
      watching?.leave.abort();
      watching = null;
      hearers.clear();
    },
  };
}
