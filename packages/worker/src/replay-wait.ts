import type { Cancel, Env } from "@aikirun/lib";
import type { Address } from "@aikirun/lib/protocol";

/** How long a replay may wait for a recorded call before a warning is logged. Milliseconds. */
const lateMs = 10_000;

/** The recorded call that the replay of one run waits for, and how long it has waited. */
export class ReplayWait {
  readonly #env: Pick<Env, "now" | "after">;
  readonly #onLate: (call: Address, since: number) => void;
  #call: Address | null = null;
  /** Whether the warning was logged or the run has left the worker. No further warning is logged. */
  #isOver = false;
  #cancel: Cancel = () => {};

  /** `onLate` is called once, for the first wait that takes 10 s. `since` is epoch milliseconds. */
  constructor(env: Pick<Env, "now" | "after">, onLate: (call: Address, since: number) => void) {
    this.#env = env;
    this.#onLate = onLate;
  }

  /** `call` is null when the replay continues. */
  set(call: Address | null): void {
    const isBeginning = this.#call === null && call !== null && !this.#isOver;
    if (call === null) this.#cancel();
    this.#call = call;
    if (isBeginning) this.#begin();
  }

  /** Call when the run has left the worker. No warning is logged after it. */
  end(): void {
    this.set(null);
    this.#isOver = true;
  }

  #begin(): void {
    const since = this.#env.now();
    this.#cancel = this.#env.after(lateMs, () => {
      if (this.#call === null) return;
      this.#isOver = true;
      this.#onLate(this.#call, since);
    });
  }
}
