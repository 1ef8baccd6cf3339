import type { Env, Logger } from "@aikirun/lib";
import type { Served } from "@aikirun/lib/protocol";

/**
 * Says when a worker asks the server for runs, and for how many. All else is the worker's: it asks one question at a
 * time, never for more runs than it has free slots, repeats one whose answer was lost, and makes growing pauses while
 * the server errs. So a subscriber can lose or make up whatever it hears; that costs time, and nothing else.
 */
export interface Subscriber {
  /**
   * Resolves when it is time to ask. Called only while slots are `free`, and not again before what it resolved to is
   * settled. When `signal` aborts (other workflows are served from now on, or the worker stops) the question is not
   * wanted any more: settle soon, in any way. A rejection is logged, and `next` is called again after a pause.
   */
  next(free: number, signal: AbortSignal): Promise<Question>;
  /** The worker takes nothing more. It waits for this for a second at most. */
  close(): Promise<void>;
}

/** How the server is asked for runs. */
export interface Question {
  /** How long the server may hold the question until a run is ready. Milliseconds, 0 to 60,000. */
  waitMs: number;
  /** Asks for so many runs at most. Default: as many as slots are free by then. */
  limit?: number;
  /** Whether the server looks for runs in the database even if it has not heard of any. Default false. */
  rung?: boolean;
  /** When it aborts, the server answers at once with the runs that it has by then. Default: it waits for `waitMs`. */
  recall?: AbortSignal;
  /** Called once, when it is known what came of the question. */
  settled?(answer: Answer): void;
}

/** What came of a question. */
export type Answer =
  /** Of the runs `asked` for, at most, so many came, after `heldMs` milliseconds. Fewer: no more were ready. */
  | { type: "answered"; asked: number; runs: number; heldMs: number }
  /** The server refused the question. */
  | { type: "failed"; error: unknown }
  /** Nobody asked, or the question was taken back before a run came. */
  | { type: "unasked" };

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
  /** What the keys of the Redis streams begin with through which the server tells of runs; null when it does not. */
  streams(): string | null;
  /** Adds the id of the worker to every line. */
  readonly logger: Logger;
  /** Clock and randomness. */
  readonly env: Env;
}
