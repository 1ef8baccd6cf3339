import type { Value } from "@aikirun/lib/protocol";
import type { OpenCall, Unnumbered } from "./call.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Journal } from "./journal.ts";
import type { Outbox, Posted } from "./outbox.ts";

/** A value that a call has come to, and that waits to be recorded. */
interface Coming {
  posted: Posted;
  value: Value;
}

/** A value that its call is given before it is recorded. */
interface Early {
  call: OpenCall;
  value: Value;
  place: Unnumbered;
}

/** The value of a lone call: with no other call open, the order of deliveries is known before it is recorded (P5). */
export class LoneValue {
  readonly #journal: Journal;
  readonly #deliveries: Deliveries;
  readonly #outbox: Outbox;
  #coming: Coming | null = null;

  constructor(journal: Journal, deliveries: Deliveries, outbox: Outbox) {
    this.#journal = journal;
    this.#deliveries = deliveries;
    this.#outbox = outbox;
  }

  offer(posted: Posted, value: Value): void {
    this.#coming = { posted, value };
  }

  /** The value, if its call is still the only one; it then no longer waits for the record. */
  take(): Early | null {
    const coming = this.#coming;
    this.#coming = null;
    // mutant: only-open-call
    if (coming === null || this.#deliveries.open !== 1 || this.#journal.expected.size > 0) return null;
    const { posted, value } = coming;
    const { call } = posted;
    if (!call.open || !this.#outbox.isHolding(posted)) return null;
    return { call, value, place: this.#outbox.showEarly(posted) };
  }

  /** Whether there may be one to take. */
  get isComing(): boolean {
    return this.#coming !== null;
  }
}
