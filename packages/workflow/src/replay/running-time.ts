import type { Cancel, Env } from "@aikirun/lib";

/**
 * Measures how long the code could have run. The time in which the event loop was blocked, or the process stood still,
 * does not count: code that had no chance to run is not late.
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
   * Calls `passed` every `pieceMs`, with what has passed, until it answers false or `stop` is called. One piece counts
   * at most twice what it should take.
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
