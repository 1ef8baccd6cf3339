import { AikiError, type Cancel, type Env } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import type { OpenCall } from "./call.ts";

/** One try of a task, under way. */
export interface OngoingTry {
  readonly call: OpenCall;
  /** Whatever it comes to no longer counts. */
  abort(reason: unknown): void;
}

/** What holds the slot: tries under way, short retry delays, validations. */
export class OngoingWork {
  readonly #env: Env;
  readonly #tries = new Set<OngoingTry>();
  #delays: Map<() => void, Cancel> | null = null;
  #held = 0;

  constructor(env: Env) {
    this.#env = env;
  }

  get isBusy(): boolean {
    return this.#tries.size > 0 || (this.#delays?.size ?? 0) > 0 || this.#held > 0;
  }

  add(attempt: OngoingTry): void {
    this.#tries.add(attempt);
  }

  remove(attempt: OngoingTry): void {
    this.#tries.delete(attempt);
  }

  abortAll(code: AikiError["code"], message: string, runId: RunId): void {
    if (this.#tries.size === 0) return;
    const reason = new AikiError(code, message, { ids: { runId } });
    const tries = [...this.#tries];
    this.#tries.clear();
    for (const attempt of tries) attempt.abort(reason);
  }

  /** Nothing comes of the tries of these calls any more. */
  abortCalls(isAborted: (call: OpenCall) => boolean, reason: unknown): void {
    for (const attempt of [...this.#tries].filter(({ call }) => isAborted(call))) {
      this.#tries.delete(attempt);
      attempt.abort(reason);
    }
  }

  /** Calls `then` after a delay, in milliseconds. */
  after(delayMs: number, then: () => void): void {
    const cancel = this.#env.after(delayMs, () => {
      this.#delays?.delete(then);
      then();
    });
    this.#delays ??= new Map();
    this.#delays.set(then, cancel);
  }

  /** Cuts every delay short; returns what would have followed. */
  cutDelays(): Array<() => void> {
    const cut = [...(this.#delays ?? [])];
    this.#delays = null;
    for (const [, cancel] of cut) cancel();
    return cut.map(([then]) => then);
  }

  /** The run left this worker. */
  end(code: AikiError["code"], runId: RunId): void {
    this.cutDelays();
    this.abortAll(code, "This worker no longer holds the run.", runId);
  }

  /** Is busy until `work`, which never rejects, is done. */
  async hold(work: () => Promise<void>): Promise<void> {
    this.#held += 1;
    await work();
    this.#held -= 1;
  }
}
