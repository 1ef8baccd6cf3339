import type { OpenCall } from "./call.ts";
import type { Recorded } from "./recorded.ts";

/** An `effect` acts on the world; a `start` and a `wait` only ride in a report. */
export type NewCallKind = "effect" | "start" | "wait";

/** A call that nothing recorded answers, and what it does when its time has come. */
export interface NewCall {
  call: OpenCall;
  kind: NewCallKind;
  begin: () => void;
  /** The call is this recorded one after all. */
  adopt: (found: Recorded) => void;
  /** Of a value that an earlier attempt recorded: under which `seq`. */
  recalled?: number;
}

/** What waits to begin, in call order. */
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

  /** Whether any of it is recalled. */
  get hasRecalled(): boolean {
    return this.#waiting.some(({ recalled }) => recalled !== undefined);
  }

  /** Forgets those that were answered meanwhile: the end of a wait may be received before it is opened again. */
  forgetAnswered(): void {
    if (this.#waiting.some(({ call }) => !call.open)) this.#waiting = this.#waiting.filter(({ call }) => call.open);
  }

  /** Takes those of which this is true, in call order. */
  takeIf(isTaken: (beginning: NewCall) => boolean): void {
    this.#waiting = this.#waiting.filter((beginning) => !isTaken(beginning));
  }

  /** Takes those of the kinds that may begin; of what is recalled, that of which `mayRecall` is true. */
  take(may: Readonly<Record<NewCallKind, boolean>>, mayRecall: (seq: number) => boolean): NewCall[] {
    const taken: NewCall[] = [];
    // A wait that began without what is recalled could win a race against it.
    const mayWait = may.wait && (may.start || !this.hasRecalled);
    this.takeIf((beginning) => {
      const { kind, recalled } = beginning;
      const isTaken = (kind === "wait" ? mayWait : may[kind]) && (recalled === undefined || mayRecall(recalled));
      if (isTaken) taken.push(beginning);
      return isTaken;
    });
    // What is recalled comes first, as it came before: so races come out as they did, and code goes the same ways.
    const recalled = taken.filter((beginning) => beginning.recalled !== undefined);
    if (recalled.length === 0) return taken;
    recalled.sort((a, b) => (a.recalled ?? 0) - (b.recalled ?? 0));
    return [...recalled, ...taken.filter((beginning) => beginning.recalled === undefined)];
  }
}
