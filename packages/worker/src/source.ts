import { isTransient, pause } from "@aikirun/client/internal";
import type { Cancel, Env, Logger } from "@aikirun/lib";
import type { Api, ClaimedRun, ClaimRequest, RunId, Served } from "@aikirun/lib/protocol";
import { type Instant, instant } from "./leases.ts";
import type { Pace } from "./pace.ts";

/** Takes runs from the server as slots come free. */
export interface Source {
  /** A slot came free. */
  freed(): void;
  /** Asks for a parked run of our own, before any other. */
  reclaim(runId: RunId, fence: number): void;
  /** No longer needed: the run came by itself. */
  forget(runId: RunId): void;
  /** Asks for nothing more. Resolves when no question is under way. */
  stop(): Promise<void>;
}

export interface SourceOptions {
  api: Api;
  env: Env;
  logger: Logger;
  pace: Pace;
  session: string;
  worker: string;
  shardKeys: readonly string[];
  leaseMs: number;
  serves: () => Served[];
  freeSlots: () => number;
  /** A claimed run, with the moment when its claim was sent; it occupies a slot from here on. */
  onRun: (run: ClaimedRun, sentAt: Instant) => void;
  /** The run is not to be had: it moved on without us. */
  onRefused: (runId: RunId, fence: number) => void;
}

/** How often a waiting claim is compared with what the registry serves by now. Milliseconds. */
const registryMs = 200;

/** One claim is in flight, for as many runs as slots are free; nothing else takes runs, so no more are taken. */
export function source(options: SourceOptions): Source {
  const { api, env, logger, pace, freeSlots } = options;
  const stopped = new AbortController();
  const reclaims = new Map<RunId, number>();
  let wake: () => void = () => {};
  let interrupt: () => void = () => {};
  const done = loop();

  async function loop(): Promise<void> {
    while (!stopped.signal.aborted) {
      const request = nextRequest();
      if (request !== null) {
        await rest(await ask(request));
      } else {
        await woken();
        await rest(pace.atCapacityMs);
      }
    }
  }

  /** Null when there is no slot, or nothing to ask for. */
  function nextRequest(): ClaimRequest | null {
    const free = freeSlots();
    const serves = options.serves();
    if (free <= 0 || (serves.length === 0 && reclaims.size === 0)) {
      return null;
    }
    const reclaim = Array.from(reclaims, ([runId, fence]) => ({ runId, fence })).slice(0, Math.min(free, 1_000));
    const others = Math.min(free - reclaim.length, 1_000);
    return {
      claimId: env.id(),
      session: options.session,
      worker: options.worker,
      serves: others > 0 ? serves : [],
      shardKeys: [...options.shardKeys],
      limit: Math.max(1, others),
      leaseMs: options.leaseMs,
      waitMs: reclaim.length > 0 ? 0 : pace.waitMs,
      ...(reclaim.length > 0 ? { reclaim } : {}),
    };
  }

  /** Asks until there is an answer: a reply that was lost may hold runs, and only its repeat brings them. */
  async function ask(request: ClaimRequest): Promise<number> {
    // What a repeat brings may have been taken by the first: its lease is as old as that.
    const takenAt = instant(env);
    for (let isFirst = true; !stopped.signal.aborted; isFirst = false) {
      const sentAt = env.elapsed();
      const leave = new AbortController();
      const onInterrupt = () => leave.abort();
      interrupt = onInterrupt;
      stopped.signal.addEventListener("abort", onInterrupt, { once: true });
      const cancelLook = request.waitMs > 0 ? lookAtRegistry(request, leave) : () => {};
      try {
        const { runs } = await api.claim(request, { signal: leave.signal });
        const delay = receive(request, runs, takenAt, env.elapsed() - sentAt);
        return leave.signal.aborted ? 0 : delay;
      } catch (error) {
        if (leave.signal.aborted) {
          return 0;
        }
        const delay = pace.failed(error);
        if (isFirst || !isTransient(error)) {
          logger.warn("claim failed", { error, retryInMs: Math.round(delay) });
        }
        await pause(env, delay, stopped.signal);
        if (!isTransient(error)) {
          return 0;
        }
      } finally {
        cancelLook();
        interrupt = () => {};
        stopped.signal.removeEventListener("abort", onInterrupt);
      }
    }
    return 0;
  }

  /** The pause before the next question, in milliseconds. */
  function receive({ reclaim = [] }: ClaimRequest, runs: ClaimedRun[], sentAt: Instant, heldMs: number): number {
    const ours = new Set(runs.map(({ id }) => id));
    for (const run of runs) {
      reclaims.delete(run.id);
      options.onRun(run, sentAt);
    }
    for (const { runId, fence } of reclaim) {
      if (!ours.has(runId) && reclaims.get(runId) === fence) {
        reclaims.delete(runId);
        options.onRefused(runId, fence);
      }
    }
    const delay = pace.answered(runs.length, heldMs);
    return reclaim.length > 0 ? 0 : delay;
  }

  /** What is registered meanwhile must not wait for the end of a long poll. */
  function lookAtRegistry({ serves }: ClaimRequest, leave: AbortController): Cancel {
    let cancel: Cancel = () => {};
    const look = () => {
      if (isSame(serves, options.serves())) {
        cancel = env.after(registryMs, look);
      } else {
        leave.abort();
      }
    };
    cancel = env.after(registryMs, look);
    return () => cancel();
  }

  /** Until a slot comes free, something is registered or reclaimed, or the end. */
  function woken(): Promise<void> {
    return new Promise((resolve) => {
      const hasSlots = freeSlots() > 0;
      const cancel = hasSlots ? env.after(registryMs, () => wake()) : () => {};
      wake = () => {
        cancel();
        wake = () => {};
        resolve();
      };
      if (stopped.signal.aborted) {
        wake();
      }
    });
  }

  function rest(ms: number): Promise<void> {
    return ms > 0 ? pause(env, ms, stopped.signal) : Promise.resolve();
  }

  return {
    freed: () => wake(),
    reclaim(runId, fence) {
      reclaims.set(runId, fence);
      interrupt();
      wake();
    },
    forget: (runId) => {
      reclaims.delete(runId);
    },
    stop() {
      stopped.abort();
      wake();
      return done;
    },
  };
}

function isSame(before: Served[], now: Served[]): boolean {
  return (
    before.length === now.length &&
    before.every(({ name, versionId }, index) => now[index]?.name === name && now[index]?.versionId === versionId)
  );
}
