import type { Cancel, Env } from "@aikirun/lib";

/** One timer, for one kind of thing at a time; setting the same kind again does not restart it. */
export class Watchdog<Kind extends string> {
  readonly #env: Env;
  #set: { kind: Kind; cancel: Cancel } | null = null;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Calls `then` after a delay, in milliseconds, unless cleared or set to another kind before. */
  set(kind: Kind, delayMs: number, then: () => void): void {
    if (this.#set?.kind === kind) return;
    this.clear();
    const cancel = this.#env.after(delayMs, () => {
      this.#set = null;
      then();
    });
    this.#set = { kind, cancel };
  }

  clear(): void {
    this.#set?.cancel();
    this.#set = null;
  }
}
