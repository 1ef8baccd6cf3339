/** Calls that wait for an entry, and entries that wait to be delivered. */

import type { Address, Entry, Value } from "@aikirun/lib/protocol";
import type { OpenCall } from "./call.ts";
import { Heap } from "./heap.ts";
import type { Journal } from "./journal.ts";

export interface Delivery {
  /** The values of a run are delivered in this order. */
  seq: number;
  value: Value;
  call: OpenCall;
}

/**
 * What receives an entry. A call receives its value in order of `seq`. A function is called at once, because it does
 * not affect the handler.
 */
export type EntryListener = OpenCall | ((entry: Entry) => void);

export class Deliveries {
  readonly #journal: Journal;
  readonly #ready = new Heap<Delivery>(({ seq }) => seq);
  #listeners: Map<Address, EntryListener[]> | null = null;
  /** Calls that wait for the end of a child. */
  #forChildren: Set<OpenCall> | null = null;
  #open = 0;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** How many durable calls the handler has made that have no value yet. */
  get open(): number {
    return this.#open;
  }

  /** Whether a value is recorded and waits to be delivered. */
  get hasReady(): boolean {
    return this.peek() !== undefined;
  }

  /** Whether any call waits for an entry that does not come from this worker's reports. */
  get awaitsEntries(): boolean {
    return (this.#listeners?.size ?? 0) > 0 || this.children > 0;
  }

  /** The first address at which a call waits for an entry. */
  get awaited(): Address | undefined {
    return this.#listeners?.keys().next().value;
  }

  /** Whether the server may record a value for an open call. It records none for a withdrawn wait. */
  get mayReceiveValue(): boolean {
    return this.children > 0 || this.#journal.mayEndWait(this.#listeners?.keys() ?? []);
  }

  /** How many calls wait for the end of a child. */
  get children(): number {
    return this.#forChildren?.size ?? 0;
  }

  made(): void {
    this.#open += 1;
  }

  awaitChild(call: OpenCall): void {
    this.#forChildren ??= new Set();
    this.#forChildren.add(call);
  }

  /** Passes the next entry at this address to the listener. */
  listen(address: Address, listener: EntryListener): void {
    this.#listeners ??= new Map();
    const listeners = this.#listeners.get(address);
    if (listeners === undefined) this.#listeners.set(address, [listener]);
    else listeners.push(listener);
    if (typeof listener !== "function") listener.listens.push(address);
  }

  /** Adds a new entry to the journal and passes it to its listeners. */
  receive(entry: Entry): void {
    const { address, seq, value } = entry;
    this.#journal.add(entry);
    const listeners = this.#listeners?.get(address);
    if (listeners === undefined) return;
    this.#listeners?.delete(address);
    this.#journal.claimAt(address);
    for (const listener of listeners) {
      if (typeof listener === "function") listener(entry);
      else this.later(listener, seq, value);
    }
  }

  /** Queues the value recorded at `seq` for delivery. */
  later(call: OpenCall, seq: number, value: Value): void {
    this.#ready.push({ seq: Math.max(seq, call.askedSeq), value, call }); // mutant: delivery-order
  }

  /** The next delivery. */
  peek(): Delivery | undefined {
    for (;;) {
      const delivery = this.#ready.peek();
      if (delivery === undefined || delivery.call.open) return delivery;
      this.#ready.pop();
    }
  }

  /** Settles the call. */
  deliver(call: OpenCall, value: Value): void {
    this.close(call);
    call.deliver(value);
  }

  /** Call when the call no longer needs a value. */
  close(call: OpenCall): void {
    this.#open -= 1;
    this.#forChildren?.delete(call);
    for (const address of call.listens) this.#forget(address, call);
  }

  #forget(address: Address, call: OpenCall): void {
    const others = this.#listeners?.get(address)?.filter((listener) => listener !== call);
    if (others === undefined) return;
    if (others.length > 0) this.#listeners?.set(address, others);
    else this.#listeners?.delete(address);
  }
}
