import type { OpenCall } from "./call.ts";
import type { Recorded } from "./recorded.ts";

/** An `effect` runs user code with effects. A `start` and a `wait` are only sent with a report. */
export type NewCallKind = "effect" | "start" | "wait";

/** A call without a recorded value, and how it begins. */
export interface NewCall {
  call: OpenCall;
  kind: NewCallKind;
  begin: () => void;
  /** Call instead of `begin` when a recorded call turns out to match. */
  adopt: (found: Recorded) => void;
  /** The `seq` of the value that an earlier attempt recorded; absent for other calls. */
  recalled?: number;
}

/** Calls that wait to begin, in call order. */
export class NewCalls {
  #waiting: NewCall[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  get first(): OpenCall | undefined {
    return this.#waiting[0]?.call;
  }

  push(beginning: NewCall): void {
    this.#waiting.push(beginning);
  }

  clear(): void {
    this.#waiting = [];
  }

  /** Whether any waiting call has a recalled value. */
  get hasRecalled(): boolean {
    return this.#waiting.some(({ recalled }) => recalled !== undefined);
  }

  /** Removes calls that were answered meanwhile: a wait may end before it is opened again. */
  forgetAnswered(): void {
    if (this.#waiting.some(({ call }) => !call.open)) this.#waiting = this.#waiting.filter(({ call }) => call.open);
  }

  /** Removes the calls for which `isTaken` returns true, in call order. */
  takeIf(isTaken: (beginning: NewCall) => boolean): void {
    this.#waiting = this.#waiting.filter((beginning) => !isTaken(beginning));
  }

  /** Removes and returns the calls whose kind may begin. A recalled value must also pass `mayRecall`. */
  take(may: Readonly<Record<NewCallKind, boolean>>, mayRecall: (seq: number) => boolean): NewCall[] {
    const taken: NewCall[] = [];
    // A wait that begins before a recalled value is delivered could win a race against it.
    const mayWait = may.wait && (may.start || !this.hasRecalled);
    this.takeIf((beginning) => {
      const { kind, recalled } = beginning;
      const isTaken = (kind === "wait" ? mayWait : may[kind]) && (recalled === undefined || mayRecall(recalled));
      if (isTaken) taken.push(beginning);
      return isTaken;
    });
    // Recalled values come first and in their former order, so that races have the same winners as before.
    const recalled = taken.filter((beginning) => beginning.recalled !== undefined);
    if (recalled.length === 0) return taken;
    recalled.sort((a, b) => (a.recalled ?? 0) - (b.recalled ?? 0));
    return [...recalled, ...taken.filter((beginning) => beginning.recalled === undefined)];
  }
}
