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
 * Runs that lost their lease more than once may crash their worker. They begin one after the other, each when the one
 * before has reported: if one crashes the process again, no other run in quarantine loses its lease with it.
 */
export class Quarantine {
  readonly #env: Env;
  readonly #maxMs: number;
  #before: Promise<unknown> = Promise.resolve();

  /** `maxMs`: after so many milliseconds the next run begins, whether the one before has reported or not. */
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
