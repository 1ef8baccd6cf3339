import { AikiError, type Cancel, type Env } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import type { OpenCall } from "./call.ts";

/** One try of a task, under way. */
export interface Flight {
  readonly call: OpenCall;
  /** Whatever it comes to no longer counts. */
  abort(reason: unknown): void;
}

/** What holds the slot: tries under way, short retry delays, validations. */
export class Work {
  readonly #env: Env;
  readonly #flights = new Set<Flight>();
  #delays: Map<() => void, Cancel> | null = null;
  #held = 0;

  constructor(env: Env) {
    this.#env = env;
  }

  get isBusy(): boolean {
    return this.#flights.size > 0 || (this.#delays?.size ?? 0) > 0 || this.#held > 0;
  }

  takeOff(flight: Flight): void {
    this.#flights.add(flight);
  }

  land(flight: Flight): void {
    this.#flights.delete(flight);
  }

  abortFlights(code: AikiError["code"], message: string, runId: RunId): void {
    if (this.#flights.size === 0) return;
    const reason = new AikiError(code, message, { ids: { runId } });
    const flights = [...this.#flights];
    this.#flights.clear();
    for (const flight of flights) flight.abort(reason);
  }

  /** Nothing comes of the tries of these calls any more. */
  abortCalls(isAborted: (call: OpenCall) => boolean, reason: unknown): void {
    for (const flight of [...this.#flights].filter(({ call }) => isAborted(call))) {
      this.#flights.delete(flight);
      flight.abort(reason);
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
    this.abortFlights(code, "This worker no longer holds the run.", runId);
  }

  /** Is busy until `work`, which never rejects, is done. */
  async hold(work: () => Promise<void>): Promise<void> {
    this.#held += 1;
    await work();
    this.#held -= 1;
  }
}
