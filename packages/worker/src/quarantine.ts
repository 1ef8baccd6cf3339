import type { Env } from "@aikirun/lib";
import { settlesWithin } from "@aikirun/lib/internal";

/** The stay of one run in quarantine. */
export interface Stay {
  /** Resolves when the run may begin. */
  readonly mayBegin: Promise<void>;
  /** The run has reported, or left this worker: the next one may begin. */
  end(): void;
}

/**
 * Runs that lost their lease more than once may crash their worker. They begin one at a time: each waits until the
 * previous one has reported. If one crashes the process, no other run in quarantine loses its lease.
 */
export class Quarantine {
  readonly #env: Env;
  readonly #maxMs: number;
  #before: Promise<unknown> = Promise.resolve();

  /** After `maxMs` milliseconds the next run begins even if the previous one has not reported. */
  constructor(env: Env, maxMs: number) {
    this.#env = env;
    this.#maxMs = maxMs;
  }

  enter(): Stay {
    const mayBegin = this.#before.then(() => {});
    let end: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#before = mayBegin.then(() => settlesWithin(this.#env, ended, this.#maxMs));
    return { mayBegin, end: () => end() };
  }
}
