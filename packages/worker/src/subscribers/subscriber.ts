import type { Env, Logger } from "@aikirun/lib";
import type { Served, WakeUpStreams } from "@aikirun/lib/protocol";

/**
 * Says when a worker claims runs, and how many. The worker does the rest: it makes one claim at a time, never for more
 * runs than it has free slots, names claims that got no answer, and makes growing pauses while the server fails. So a
 * subscriber may lose wake-ups or make them up: this costs time, and nothing else.
 */
export interface Subscriber {
  /**
   * Resolves when it is time to claim. Called only while slots are `free`, and not again before the request that it
   * resolved to is settled. When `signal` aborts (the worker serves other workflows from now on, has no free slots any
   * more, or stops) the request is not needed: resolve soon, in any way. A rejection is logged, and `next` is called
   * again after a pause.
   */
  next(free: number, signal: AbortSignal): Promise<PollRequest>;
  /** The worker claims nothing more. It waits for this for a second at most. */
  close(): Promise<void>;
}

/** How to claim runs. */
export interface PollRequest {
  /** How long the server may wait for a run before it answers. Milliseconds, 0 to 60,000. */
  waitMs: number;
  /** How many runs to claim at most. Default: as many as slots are free by then. */
  limit?: number;
  /** Called once, with what came of it. */
  settled?(result: PollResult): void;
}

/** What came of a request. */
export type PollResult =
  /**
   * The server answered after `waitedMs` milliseconds with this number of `runs`. If they are fewer than `requested`,
   * no more were ready.
   */
  | { type: "claimed"; requested: number; runs: number; waitedMs: number }
  /** The claim failed, and the worker has paused. The next one names it, because it may have taken runs. */
  | { type: "failed"; error: unknown }
  /** No claim was made, or the worker aborted it. */
  | { type: "skipped" };

/** What a subscriber may know of its worker. */
export interface SubscriberContext {
  /** Made anew by each process. */
  readonly session: string;
  /** The worker's id: a label, which several may share. */
  readonly worker: string;
  /** What the worker can execute by now. */
  serves(): Served[];
  /** Empty: only runs without a shard key. */
  readonly shardKeys: readonly string[];
  /** Where the server publishes wake-ups for this worker; null while it publishes none through Redis. */
  streams(): WakeUpStreams | null;
  /** Adds the id of the worker to every line. */
  readonly logger: Logger;
  /** Clock and randomness. */
  readonly env: Env;
}
