/**
 * What is recorded of a run, by address. Pure.
 *
 *  J1  The newest attempt's entry at an address answers its call.
 *  J2  Of earlier attempts only successes answer; what they leave is never unclaimed.
 *  J3  Entries are taken in order of `seq` without a gap, so that nothing is delivered before what was recorded first.
 */

import { resultAddress } from "@aikirun/lib";
import type { Address, Entry, Payload } from "@aikirun/lib/protocol";

/** How many unclaimed addresses are named at most. */
const shownUnclaimed = 100;

const resultEnd = resultAddress("");
const retryEnd = "/retry";

export class Journal {
  readonly #attempt: number;
  readonly #answers = new Map<Address, Entry>();
  readonly #arrivals = new Map<string, Array<Payload | undefined>>();
  /** Entries of this attempt that a call must ask for, in order of `seq`. */
  readonly #unclaimed = new Set<Address>();
  #tail = 0;
  #hasTries = false;

  constructor(attempt: number) {
    this.#attempt = attempt;
  }

  /** The `seq` up to which every entry is known. */
  get tail(): number {
    return this.#tail;
  }

  /** How many recorded calls nobody has asked for yet. */
  get unclaimed(): number {
    return this.#unclaimed.size;
  }

  /** Whether any task failed a try in this attempt: spares the others the look. */
  get hasTries(): boolean {
    return this.#hasTries;
  }

  unclaimedAddresses(): Address[] {
    return [...this.#unclaimed].slice(0, shownUnclaimed);
  }

  /** Those that are not known yet, or null when they do not follow on (J3). */
  following(entries: readonly Entry[]): Entry[] | null {
    const fresh = entries.filter(({ seq }) => seq > this.#tail);
    return fresh.every(({ seq }, index) => seq === this.#tail + 1 + index) ? fresh : null;
  }

  /** Everything up to this `seq` is known by now. */
  advance(tail: number): void {
    this.#tail = Math.max(this.#tail, tail);
  }

  add(entry: Entry): void {
    const { value } = entry;
    if (value.type === "arrived") {
      const arrivals = this.#arrivals.get(value.name);
      if (arrivals === undefined) this.#arrivals.set(value.name, [value.data]);
      else arrivals.push(value.data);
    } else if (value.type !== "marked") {
      if (entry.attempt < this.#attempt) this.#recall(entry);
      else this.#keep(entry);
    }
  }

  #keep(entry: Entry): void {
    this.#answers.set(entry.address, entry);
    if (mustBeClaimed(entry)) this.#unclaimed.add(entry.address);
    if (entry.value.type === "retrying") this.#hasTries = true;
  }

  /** J2. A child that failed in an earlier attempt is started again, and so are the waits for it. */
  #recall(entry: Entry): void {
    const { address, value } = entry;
    if (value.type === "retrying" || address.endsWith(retryEnd)) return;
    if (value.type !== "threw") {
      this.#answers.set(address, entry);
      return;
    }
    this.#answers.delete(address);
    if (!address.endsWith(resultEnd)) return;
    const child = address.slice(0, -resultEnd.length);
    this.#answers.delete(child);
    for (let nth = 0; this.#answers.delete(childWaitAddress(child, nth)); nth++);
  }

  /** What answers the call at this address, which is claimed by that and forgotten. */
  take(address: Address): Entry | undefined {
    const entry = this.#answers.get(address);
    if (entry === undefined) return undefined;
    this.#answers.delete(address);
    this.#unclaimed.delete(address);
    return entry;
  }

  /** What is recorded at an address that may be asked again. */
  peek(address: Address): Entry | undefined {
    return this.#answers.get(address);
  }

  /** The payload of the `nth` arrival of an event, from 0. */
  arrival(name: string, nth: number): Payload | undefined {
    return this.#arrivals.get(name)?.[nth];
  }
}

/** Where the `nth` wait with a timeout for a child is recorded, from 0. */
export function childWaitAddress(child: Address, nth: number): Address {
  return `${child}/wait#${nth}`;
}

/** Whether code that still fits its run asks for this entry before it does anything new. */
function mustBeClaimed({ address, value }: Entry): boolean {
  switch (value.type) {
    case "returned":
    case "threw":
      return /^(task|step|child):/.test(address) && !address.endsWith(resultEnd);
    case "elapsed":
    case "received":
      return /^(sleep|event):/.test(address);
    case "started":
      return true;
    case "retrying":
    case "observed":
    case "arrived":
    case "marked":
      return false;
    default:
      return value satisfies never;
  }
}
