import type { OpenCall } from "./call.ts";
import type { Recorded } from "./recorded.ts";

/** An `effect` runs user code with effects. A `start` or a `wait` runs no user code; it is sent with a report. */
export type NewCallKind = "effect" | "start" | "wait";

/** A call without a recorded value, and how it begins. */
export interface NewCall {
  call: OpenCall;
  kind: NewCallKind;
  begin: () => void;
  /** Call instead of `begin` when a recorded call turns out to match. */
  adopt: (found: Recorded) => void;
  /** The `seq` of the value that an earlier attempt recorded; absent for other calls. */
  reused?: number;
}

/** Calls that wait to begin, in call order. */
export class NewCalls {
  #waiting: NewCall[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  /** In call order. */
  get calls(): OpenCall[] {
    return this.#waiting.map(({ call }) => call);
  }

  push(newCall: NewCall): void {
    this.#waiting.push(newCall);
  }

  clear(): void {
    this.#waiting = [];
  }

  /** Whether any waiting call has a reused value. */
  get hasReused(): boolean {
    return this.#waiting.some(({ reused }) => reused !== undefined);
  }

  /** Removes calls that already have a value: a wait may end before it is opened again. */
  removeClosed(): void {
    if (this.#waiting.some(({ call }) => !call.open)) this.#waiting = this.#waiting.filter(({ call }) => call.open);
  }

  /** Removes the calls for which `isTaken` returns true, in call order. */
  takeIf(isTaken: (newCall: NewCall) => boolean): void {
    this.#waiting = this.#waiting.filter((newCall) => !isTaken(newCall));
  }

  /** Removes and returns the calls whose kind may begin. A reused value must also pass `mayReuse`. */
  take(may: Readonly<Record<NewCallKind, boolean>>, mayReuse: (seq: number) => boolean): NewCall[] {
    const taken: NewCall[] = [];
    // A wait that begins before a reused value is delivered could win a race against it.
    const mayWait = may.wait && (may.start || !this.hasReused);
    this.takeIf((newCall) => {
      const { kind, reused } = newCall;
      const isTaken = (kind === "wait" ? mayWait : may[kind]) && (reused === undefined || mayReuse(reused));
      if (isTaken) taken.push(newCall);
      return isTaken;
    });
    // Reused values come first and in their former order, so that races have the same winners as before.
    const reused = taken.filter((newCall) => newCall.reused !== undefined);
    if (reused.length === 0) return taken;
    reused.sort((a, b) => (a.reused ?? 0) - (b.reused ?? 0));
    return [...reused, ...taken.filter((newCall) => newCall.reused === undefined)];
  }
}
