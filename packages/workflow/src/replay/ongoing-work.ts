import { AikiError, type Cancel, type Env } from "@aikirun/lib";
import type { RunId, TaskTry } from "@aikirun/lib/protocol";
import type { OpenCall } from "./call.ts";

/** One running try of a task. */
export interface OngoingTry {
  readonly call: OpenCall;
  /** The try, as the worker sends it to the server. */
  describe(): TaskTry;
  /** Aborts its signal. Its result is ignored. */
  abort(reason: unknown): void;
}

/** How many tries a worker describes at most. */
const described = 10;

/** The work during which a run keeps its slot: running tries, short retry delays, validations. */
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

  /** The running tries, the oldest ones first. */
  get tries(): TaskTry[] {
    return this.#tries.size === 0 ? [] : [...this.#tries].slice(0, described).map((attempt) => attempt.describe());
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

  /** Aborts the tries of these calls. Their results are ignored. */
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

  /** Cancels every delay. Returns the functions that the delays would have called. */
  cancelDelays(): Array<() => void> {
    const cut = [...(this.#delays ?? [])];
    this.#delays = null;
    for (const [, cancel] of cut) cancel();
    return cut.map(([then]) => then);
  }

  /** Call when the run has left this worker. */
  end(code: AikiError["code"], runId: RunId): void {
    this.cancelDelays();
    this.abortAll(code, "This worker no longer holds the run.", runId);
  }

  /** Counts as busy until `work` has ended. `work` must never reject. */
  async hold(work: () => Promise<void>): Promise<void> {
    this.#held += 1;
    await work();
    this.#held -= 1;
  }
}
