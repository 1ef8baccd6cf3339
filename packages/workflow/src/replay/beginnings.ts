import type { OpenCall } from "./call.ts";

/** An `effect` acts on the world; a `start` and a `wait` only ride in a report. */
export type BeginningKind = "effect" | "start" | "wait";

/** A call that nothing recorded answers, and what it does when its time has come. */
export interface Beginning {
  call: OpenCall;
  kind: BeginningKind;
  begin: () => void;
}

/** What waits to begin, in call order. */
export class Beginnings {
  #waiting: Beginning[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  get first(): OpenCall | undefined {
    return this.#waiting[0]?.call;
  }

  push(beginning: Beginning): void {
    this.#waiting.push(beginning);
  }

  clear(): void {
    this.#waiting = [];
  }

  /** Forgets those that were answered meanwhile: news may bring the end of a wait before it is opened again. */
  forgetAnswered(): void {
    if (this.#waiting.some(({ call }) => !call.open)) this.#waiting = this.#waiting.filter(({ call }) => call.open);
  }

  /** Takes those of the kinds that may begin. */
  take(may: Readonly<Record<BeginningKind, boolean>>): Beginning[] {
    const taken = this.#waiting.filter(({ kind }) => may[kind]);
    this.#waiting = this.#waiting.filter(({ kind }) => !may[kind]);
    return taken;
  }
}
