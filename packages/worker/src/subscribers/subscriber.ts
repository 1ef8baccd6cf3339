import type { Env, Logger } from "@aikirun/lib";
import type { Served, WakeUpStreams } from "@aikirun/lib/protocol";

/**
 * Decides when a worker claims runs, and how many. The worker makes one claim at a time, and never claims more runs
 * than it has free slots. It names unanswered claims in the next claim, and makes growing pauses while the server
 * fails. So a subscriber may lose or repeat wake-ups: this only costs time.
 */
export interface Subscriber {
  /**
   * Resolves when it is time to claim. Called only while slots are `free`, and not again before the previous request is
   * settled. `signal` aborts when the request is not needed any more: the served workflows have changed, no slot is
   * free, or the worker stops. Then resolve soon, with any request. A rejection is logged, and `next` is called again
   * after a pause.
   */
  next(free: number, signal: AbortSignal): Promise<PollRequest>;
  /** Called when the worker claims no more runs. The worker waits at most one second for it. */
  close(): Promise<void>;
}

/** How to claim runs. */
export interface PollRequest {
  /** How long the server may wait for a run before it answers. Milliseconds, 0 to 60,000. */
  waitMs: number;
  /** How many runs to claim at most. Default: the number of free slots at that time. */
  limit?: number;
  /** Called once with the result of the request. */
  settled?(result: PollResult): void;
}

/** The result of a request. */
export type PollResult =
  /**
   * The server answered after `waitedMs` milliseconds with this number of `runs`. If they are fewer than `requested`,
   * no more were ready.
   */
  | { type: "claimed"; requested: number; runs: number; waitedMs: number }
  /** The claim failed, and the worker has paused. The next claim names it, because it may have taken runs. */
  | { type: "failed"; error: unknown }
  /** No claim was made, or the worker aborted it. */
  | { type: "skipped" };

/** The data that a subscriber receives from its worker. */
export interface SubscriberContext {
  /** The id of this session: one execution of the worker, from its start to its stop or crash. */
  readonly session: string;
  /** The worker's id: a label that several workers may share. */
  readonly worker: string;
  /** The workflow versions that the worker can execute now. */
  serves(): Served[];
  /** The shard keys of the worker. Empty: only runs without a shard key. */
  readonly shardKeys: readonly string[];
  /** Where the server publishes wake-ups for this worker; null while it publishes none through Redis. */
  streams(): WakeUpStreams | null;
  /** Adds the id of the worker to every line. */
  readonly logger: Logger;
  /** Clock and randomness. */
  readonly env: Env;
}
