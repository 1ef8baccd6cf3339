/** Who waits for what to be recorded, and what is recorded and waits to be delivered. */

import type { Address, Entry, Value } from "@aikirun/lib/protocol";
import type { OpenCall } from "./call.ts";
import type { Journal } from "./journal.ts";
import { Ready } from "./ready.ts";

export interface Delivery {
  seq: number;
  value: Value;
  call: OpenCall;
}

/** A call is answered when its turn comes; a function hears at once, because nothing of it reaches the handler. */
export type Listener = OpenCall | ((entry: Entry) => void);

export class Deliveries {
  readonly #journal: Journal;
  readonly #ready = new Ready<Delivery>();
  readonly #listeners = new Map<Address, Listener[]>();
  /** The addresses among them at which a child's end is recorded. */
  readonly #children = new Set<Address>();
  #open = 0;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** Durable calls that the handler made and has no value of yet. */
  get open(): number {
    return this.#open;
  }

  /** Whether a value is recorded and waits to be delivered. */
  get hasReady(): boolean {
    return this.#ready.size > 0;
  }

  /** Whether anything waits for news from outside. */
  get awaitsNews(): boolean {
    return this.#listeners.size > 0;
  }

  /** How many children's ends are awaited. */
  get children(): number {
    return this.#children.size;
  }

  /** Whether the record answers the call. */
  ask(call: OpenCall): boolean {
    this.#open += 1;
    const entry = this.#journal.take(call.address);
    if (entry !== undefined) this.later(call, entry.seq, entry.value);
    return entry !== undefined;
  }

  /** Whether the record answers a call that hears of a child's end, or of its own wait's, whichever is first. */
  askForChild(call: OpenCall, result: Address, isTimed: boolean): boolean {
    this.#open += 1;
    const ended = this.#journal.peek(result);
    const elapsed = isTimed ? this.#journal.take(call.address) : undefined;
    if (ended !== undefined) this.later(call, ended.seq, ended.value);
    if (elapsed !== undefined) this.later(call, elapsed.seq, elapsed.value);
    if (ended !== undefined || elapsed !== undefined) return true;
    this.#children.add(result);
    this.listen(result, call);
    return false;
  }

  /** Tells the listener what will be recorded at this address. */
  listen(address: Address, listener: Listener): void {
    const listeners = this.#listeners.get(address);
    if (listeners === undefined) this.#listeners.set(address, [listener]);
    else listeners.push(listener);
    if (typeof listener !== "function") listener.listens.push(address);
  }

  /** A new entry: kept in the journal, or on its way to those who listen. */
  receive(entry: Entry): void {
    const { address, seq, value } = entry;
    this.#journal.add(entry);
    const listeners = this.#listeners.get(address);
    if (listeners === undefined) return;
    this.#listeners.delete(address);
    if (!this.#children.delete(address)) this.#journal.take(address);
    for (const listener of listeners) {
      if (typeof listener === "function") listener(entry);
      else this.later(listener, seq, value);
    }
  }

  /** What is recorded at `seq` waits for its turn. */
  later(call: OpenCall, seq: number, value: Value): void {
    this.#ready.push({ seq, value, call });
  }

  /** The delivery whose turn it is. */
  next(): Delivery | undefined {
    for (;;) {
      const delivery = this.#ready.pop();
      if (delivery === undefined || delivery.call.open) return delivery;
    }
  }

  /** Settles the call. */
  deliver(call: OpenCall, value: Value): void {
    this.#open -= 1;
    for (const address of call.listens) this.#forget(address, call);
    call.deliver(value);
  }

  #forget(address: Address, call: OpenCall): void {
    const others = this.#listeners.get(address)?.filter((listener) => listener !== call);
    if (others === undefined) return;
    if (others.length > 0) {
      this.#listeners.set(address, others);
      return;
    }
    this.#listeners.delete(address);
    this.#children.delete(address);
  }
}
