import type { ReportedStall } from "@aikirun/lib/protocol";
import type { Recorded } from "./recorded.ts";

/** Alike calls that one branch makes in one drain. */
export interface Group {
  /** How many alike calls have been made so far. Final when the drain has ended. */
  count: number;
  /** One of the recorded calls of the group; null while none is known. */
  recorded: Recorded | null;
}

/** The stall of a run whose code makes more or fewer alike calls than are recorded, so that they cannot be matched. */
export function otherCountStall({ address, callSite }: Recorded): ReportedStall {
  const places = ["the code makes more or fewer of these calls after the same value than it did before"];
  return { reason: "ambiguous_call", call: address, identity: callSite?.identity ?? "", places };
}

/** A map for mostly one key: it allocates a `Map` only for the second key. */
class FewKeys<Value> {
  #key: string | null = null;
  #value: Value | undefined;
  #others: Map<string, Value> | null = null;

  get(key: string): Value | undefined {
    return key === this.#key ? this.#value : this.#others?.get(key);
  }

  set(key: string, value: Value): void {
    this.#key ??= key;
    if (key === this.#key) {
      this.#value = value;
    } else {
      this.#others ??= new Map();
      this.#others.set(key, value);
    }
  }

  *values(): Iterable<Value> {
    if (this.#value !== undefined) yield this.#value;
    if (this.#others !== null) yield* this.#others.values();
  }
}

/** The microtasks that follow one delivery, or the start of the handler. */
export class Drain {
  /** The first identity of the call whose value was delivered. */
  readonly delivered: string;
  /** In a later attempt: the value differs from the one that an earlier attempt received. */
  readonly isChanged: boolean;
  readonly #groups = new FewKeys<Group>();
  readonly #places = new FewKeys<number>();

  constructor(delivered: string, isChanged: boolean) {
    this.delivered = delivered;
    this.isChanged = isChanged;
  }

  /** Counts one more alike call under `key`; `nth` begins at 0. */
  count(key: string): { nth: number; group: Group } {
    const known = this.#groups.get(key);
    const group = known ?? { count: 0, recorded: null };
    if (known === undefined) this.#groups.set(key, group);
    const nth = group.count;
    group.count += 1; // mutant: alike-count
    return { nth, group };
  }

  /** Counts one more alike call of a branch. Returns how many were counted before. */
  countPlace(key: string): number {
    const before = this.#places.get(key) ?? 0;
    this.#places.set(key, before + 1);
    return before;
  }

  /** A call that was recorded with more or fewer alike calls than the code has made now; null if there is none. */
  withOtherCount(): Recorded | null {
    for (const { count, recorded } of this.#groups.values()) {
      if (recorded !== null && (recorded.callSite?.alike ?? 1) !== count) return recorded;
    }
    return null;
  }
}
