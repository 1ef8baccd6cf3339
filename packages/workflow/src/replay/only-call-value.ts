import type { Value } from "@aikirun/lib/protocol";
import type { OpenCall, Unnumbered } from "./call.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Journal } from "./journal.ts";
import type { Outbox, Posted } from "./outbox.ts";

/** The value of a call, not recorded yet. */
interface OfferedValue {
  posted: Posted;
  value: Value;
}

/** A value to deliver before it is recorded. */
interface TakenValue {
  call: OpenCall;
  value: Value;
  place: Unnumbered;
}

/** The value of the only open call. It is delivered before it is recorded: no other value can precede it (P5). */
export class OnlyCallValue {
  readonly #journal: Journal;
  readonly #deliveries: Deliveries;
  readonly #outbox: Outbox;
  #offered: OfferedValue | null = null;

  constructor(journal: Journal, deliveries: Deliveries, outbox: Outbox) {
    this.#journal = journal;
    this.#deliveries = deliveries;
    this.#outbox = outbox;
  }

  offer(posted: Posted, value: Value): void {
    this.#offered = { posted, value };
  }

  /** Takes the value for delivery, if its call is still the only open one; null otherwise. */
  take(): TakenValue | null {
    const offered = this.#offered;
    this.#offered = null;
    // mutant: only-open-call
    if (offered === null || this.#deliveries.open !== 1 || this.#journal.expected.size > 0) return null;
    const { posted, value } = offered;
    const { call } = posted;
    if (!call.open || !this.#outbox.isHolding(posted)) return null;
    return { call, value, place: this.#outbox.markReceived(posted) };
  }

  /** Whether `take` may return a value. */
  get isOffered(): boolean {
    return this.#offered !== null;
  }
}
