import type { Cancel, Env } from "@aikirun/lib";

/**
 * Measures how long the code was able to run. Time in which the event loop was blocked or the process was suspended
 * does not count, because the code could not run then.
 */
export class RunningTime {
  readonly #env: Env;
  #cancel: Cancel | null = null;

  constructor(env: Env) {
    this.#env = env;
  }

  get isMeasuring(): boolean {
    return this.#cancel !== null;
  }

  /**
   * Calls `passed` every `pieceMs` milliseconds with the measured time, until it returns false or `stop` is called. One
   * interval counts at most `2 * pieceMs`.
   */
  start(pieceMs: number, passed: (ms: number) => boolean): void {
    this.stop();
    const next = (): void => {
      const began = this.#env.elapsed();
      this.#cancel = this.#env.after(pieceMs, () => {
        this.#cancel = null;
        if (passed(Math.min(this.#env.elapsed() - began, 2 * pieceMs)) && this.#cancel === null) next();
      });
    };
    next();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }
}
