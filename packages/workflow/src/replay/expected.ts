import type { Address } from "@aikirun/lib/protocol";
import { Heap } from "./heap.ts";
import { type Recorded, recordedAt } from "./recorded.ts";

/** How many addresses `addresses` returns at most. */
const shown = 100;

interface Made {
  readonly call: Recorded;
  /** The `seq` of the last delivery before it. */
  readonly madeAfter: number;
}

/** Recorded calls that the handler has not made again yet. */
export class Expected {
  readonly #byTime = new Heap<Made>(({ madeAfter }) => madeAfter);
  #waiting: Set<Recorded> | null = null;

  get size(): number {
    return this.#waiting?.size ?? 0;
  }

  add(call: Recorded): void {
    this.#waiting ??= new Set();
    if (this.#waiting.has(call)) return;
    this.#waiting.add(call);
    this.#byTime.push({ call, madeAfter: madeAt(call) });
  }

  remove(call: Recorded): void {
    this.#waiting?.delete(call);
  }

  /** The expected call that was made first in the recorded execution. */
  first(): Recorded | undefined {
    return this.#first()?.call;
  }

  /** Whether any expected call was made before the entry of this `seq` was delivered. */
  hasBefore(seq: number): boolean {
    const first = this.#first();
    return first !== undefined && first.madeAfter < seq;
  }

  /** The addresses of the expected calls, in the order in which they were recorded; at most 100. */
  addresses(): Address[] {
    return [...(this.#waiting ?? [])]
      .sort((a, b) => recordedAt(a) - recordedAt(b))
      .slice(0, shown)
      .map(({ address }) => address);
  }

  #first(): Made | undefined {
    for (;;) {
      const first = this.#byTime.peek();
      if (first === undefined || this.#waiting?.has(first.call) === true) return first;
      this.#byTime.pop();
    }
  }
}

/** A call without a call site delays no delivery. */
function madeAt({ callSite }: Recorded): number {
  return callSite?.madeAfter ?? Number.POSITIVE_INFINITY;
}
