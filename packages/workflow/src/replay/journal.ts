/**
 * The recorded entries of a run, by address. Pure.
 *
 *  J1  A call gets the value that the newest attempt recorded at its address.
 *  J2  From earlier attempts, calls get only the values of successes. Calls of earlier attempts are never expected.
 *  J3  Entries are received in order of `seq` without a gap, so that values are delivered in the order of recording.
 */

import { resultAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { Address, CallSite, ClaimedWait, Entry, Payload, Value } from "@aikirun/lib/protocol";
import type { Identified } from "./call.ts";
import { Expected } from "./expected.ts";
import { type Match, Matcher } from "./matcher.ts";
import { branchAfterOf, type Recorded, recordedCall } from "./recorded.ts";
import type { AmbiguousCalls } from "./refusal.ts";

const resultEnd = resultAddress("");
const askEnd = "/ask";
const withdrawnEnd = "/withdrawn";
/** The end of the address at which a task waits for its next try. */
const retryEnd = /\/\d+\/retry$/;
const mismatchEnd = "/mismatch";

/** The address of the entry which says that the event of this wait did not match its schema. */
export function mismatchAddress(waitAddress: Address): Address {
  return waitAddress + mismatchEnd;
}

/** The types of values that a later attempt does not reuse. */
const notReused: ReadonlySet<Value["type"]> = new Set(["retrying", "asked", "reused", "withdrawn"]);

export class Journal {
  /** Calls of this attempt. */
  readonly expected: Expected = new Expected();
  /** Calls that succeeded in an earlier attempt. */
  readonly reusable: Expected = new Expected();
  readonly #attempt: number;
  /** Null until a call is recorded, to save memory for new runs. The same holds for the other nullable fields. */
  #matcher: Matcher | null = null;
  readonly #calls = new Map<Address, Recorded>();
  /** Entries that are not the value of a call: tries of tasks, ends of children and ends of waits for children. */
  #facts: Map<Address, Entry> | null = null;
  #arrivals: Map<string, Array<Payload | undefined>> | null = null;
  /** Successes of earlier attempts by `seq`: `reused` entries refer to them. */
  #earlier: Map<number, Value> | null = null;
  /** By content: the lowest number that no new call has received. */
  readonly #numbers = new Map<string, number>();
  /** Calls that the handler has withdrawn. */
  #withdrawn: Set<Address> | null = null;
  /** The addresses of this attempt's `withdrawn` entries, by the address of the withdrawn call. */
  #withdrawals: Map<Address, Address[]> | null = null;
  /** Waits that were open when the run was claimed. */
  #waits: Set<Address> | null = null;
  /** Refused calls, with the attempt that made them and the waits that were open at that time. */
  #refusals: Array<{ refusal: AmbiguousCalls; attempt: number; waits: readonly Address[] }> | null = null;
  /** Calls that depend on refused calls. Calls of the handler do not match them. */
  #refused: Recorded[] | null = null;
  #tail = 0;
  #bytes = 0;
  #hasTries = false;
  #knowsFailures = true;
  #lastMadeAfter = -1;

  constructor(attempt: number) {
    this.#attempt = attempt;
  }

  /** The `seq` of the last received entry. */
  get tail(): number {
    return this.#tail;
  }

  get matcher(): Matcher {
    this.#matcher ??= new Matcher();
    return this.#matcher;
  }

  /** `delivered`: the `seq` of the last delivery. */
  match(made: Identified, delivered: number): Match {
    return this.#matcher === null ? "new" : this.#matcher.match(made, delivered);
  }

  /** Whether any task failed a try in this attempt. When false, tasks need not search for failed tries. */
  get hasTries(): boolean {
    return this.#hasTries;
  }

  /** Whether the journal holds the failed calls of earlier attempts. */
  get knowsFailures(): boolean {
    return this.#knowsFailures;
  }

  /** Whether an earlier execution delivered the entry of this `seq`, and its handler then made another call. */
  wasDelivered(seq: number | object): boolean {
    return typeof seq === "number" && seq <= this.#lastMadeAfter;
  }

  /** The size of the recorded values. Bytes of JSON text. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds this value to `bytes`. */
  addSize(value: Value): void {
    this.#bytes += sizeOf(value);
  }

  /** The entries that are not received yet, or null when there is a gap before them (J3). */
  following(entries: readonly Entry[]): Entry[] | null {
    const fresh = entries.filter(({ seq }) => seq > this.#tail);
    return fresh.every(({ seq }, index) => seq === this.#tail + 1 + index) ? fresh : null;
  }

  /** Sets `tail`: every entry up to this `seq` is received. */
  advance(tail: number): void {
    this.#tail = Math.max(this.#tail, tail);
  }

  add(entry: Entry): void {
    const { value } = entry;
    this.addSize(value);
    if (value.type === "arrived") {
      this.#arrivals ??= new Map();
      const arrivals = this.#arrivals.get(value.name);
      if (arrivals === undefined) this.#arrivals.set(value.name, [value.data]);
      else arrivals.push(value.data);
    } else if (value.type === "marked") {
      if (value.mark === "stalled") this.#refuseAmbiguous(entry, value);
    } else if (entry.attempt < this.#attempt) {
      this.#addOfEarlierAttempt(entry);
    } else {
      this.#addOfThisAttempt(entry);
    }
  }

  /** Adds a wait that was open when the run was claimed: its call is expected although it has no value. */
  addWait({ address, callSite }: ClaimedWait): void {
    this.#lastMadeAfter = Math.max(this.#lastMadeAfter, callSite?.madeAfter ?? -1);
    this.#waits ??= new Set();
    this.#waits.add(address);
    if (address.includes("/") || this.#calls.has(address)) return;
    this.#expect(this.#call(address, { callSite, attempt: this.#attempt }));
  }

  #addOfThisAttempt(entry: Entry): void {
    const { address, value, callSite, seq } = entry;
    this.#lastMadeAfter = Math.max(this.#lastMadeAfter, callSite?.madeAfter ?? -1);
    if (address.endsWith(askEnd)) {
      const call = this.#call(address.slice(0, -askEnd.length), entry);
      call.askedSeq = seq;
      this.#expect(call);
    } else if (!address.includes("/")) {
      const call = this.#call(address, entry);
      if (value.type !== "observed") call.valueSeqs.set(entry.attempt, seq);
      call.isReused = value.type === "reused";
      if (call.isEarlier && call.entry === null) call.isRedone = true;
      call.entry = value.type === "reused" ? this.#withReusedValue(entry, value.seq) : entry;
      if (value.type === "observed") call.isEarlier = false;
      else this.#expect(call);
    } else {
      this.#addFact(entry);
      if (value.type === "retrying") {
        this.#hasTries = true;
        this.#expect(this.#call(address.slice(0, address.lastIndexOf("/")), entry));
      } else if (value.type === "withdrawn") {
        const wait = address.slice(0, -withdrawnEnd.length);
        const owner = wait.replace(retryEnd, "");
        this.#withdrawals ??= new Map();
        this.#withdrawals.set(owner, [...(this.#withdrawals.get(owner) ?? []), address]);
        this.#expect(this.#call(address, entry));
        if (!wait.includes("/")) {
          const call = this.#call(wait, { callSite: value.wait, attempt: entry.attempt });
          call.valueSeqs.set(entry.attempt, callSite?.madeAfter ?? seq);
          this.#expect(call);
        }
        if (this.#withdrawn?.has(owner) === true) this.claimAt(address);
      }
    }
  }

  #withReusedValue(entry: Entry, seq: number): Entry {
    const value = this.#earlier?.get(seq);
    return value === undefined ? entry : { ...entry, value };
  }

  /** J2. A child that failed in an earlier attempt is started again, and so are the waits for it. */
  #addOfEarlierAttempt(entry: Entry): void {
    const { address, value, seq, attempt } = entry;
    // A run that retries another run starts with that run's successes only.
    if (attempt === 0) this.#knowsFailures = false;
    if (value.type === "withdrawn")
      this.#removeWithdrawnWait(address.slice(0, -withdrawnEnd.length), entry, value.wait);
    if (value.type === "reused") this.#calls.get(address)?.valueSeqs.set(attempt, seq);
    if (notReused.has(value.type)) return;
    // The end of a wait for a child or for a task's next try is not a success: the call waits again.
    if (value.type === "elapsed" && address.includes("/")) return;
    if (!address.includes("/")) {
      const call = this.#call(address, entry);
      if (value.type !== "observed") call.valueSeqs.set(attempt, seq);
      if (!call.isEarlier) this.matcher.addEarlier(call);
      call.isEarlier = true;
      call.entry = value.type === "threw" ? null : entry;
      if (value.type === "threw") this.reusable.remove(call);
      else this.#addSuccess(seq, value);
      if (value.type !== "threw" && value.type !== "observed") this.reusable.add(call);
    } else if (value.type !== "threw" || address.endsWith(mismatchEnd)) {
      this.#addFact(entry);
    } else {
      this.#facts?.delete(address);
      const child = this.#calls.get(address.slice(0, -resultEnd.length));
      if (child === undefined) return;
      child.entry = null;
      this.reusable.remove(child);
    }
  }

  #addFact(fact: Entry): void {
    this.#facts ??= new Map();
    this.#facts.set(fact.address, fact);
  }

  #addSuccess(seq: number, value: Value): void {
    this.#earlier ??= new Map();
    this.#earlier.set(seq, value);
  }

  /** An earlier attempt withdrew this wait. If the wait had received an event, another wait has received the event. */
  #removeWithdrawnWait(wait: Address, { attempt, callSite, seq }: Entry, site: CallSite | undefined): void {
    const known = this.#calls.get(wait);
    const call = known ?? recordedCall(wait, contentAt(wait), site, attempt);
    call.valueSeqs.set(attempt, callSite?.madeAfter ?? seq);
    if (known === undefined) this.matcher.branches.add(call);
    if (call.entry?.attempt !== attempt) return;
    call.entry = null;
    this.reusable.remove(call);
  }

  #call(
    address: Address,
    { callSite, attempt }: Pick<Entry, "attempt"> & { callSite?: CallSite | undefined },
  ): Recorded {
    const known = this.#calls.get(address);
    if (known !== undefined) {
      if (callSite !== undefined && callSite.identity !== known.callSite?.identity) {
        known.callSite = callSite;
        known.firstIdentity ??= callSite.identity;
        known.branchAfter ??= branchAfterOf(known.content, callSite);
        this.matcher.identify(known);
      }
      known.callSite = callSite ?? known.callSite;
      if (callSite !== undefined) known.siteAttempt = attempt;
      return known;
    }
    const call = recordedCall(address, contentAt(address), callSite, attempt);
    this.#calls.set(address, call);
    this.matcher.add(call);
    return call;
  }

  /** The handler must make this call again before it makes a new call. */
  #expect(call: Recorded): void {
    call.isEarlier = false;
    this.reusable.remove(call);
    if (this.#withdrawn?.has(call.address) === true) this.claim(call);
    if (!call.isClaimed) this.expected.add(call);
  }

  /** Two calls could not be distinguished, so their recorded values are not delivered. */
  #refuseAmbiguous({ attempt }: Entry, { identity, waits = [] }: { identity?: string; waits?: Address[] }): void {
    if (identity === undefined) return;
    const { refusal, removed } = this.matcher.markAmbiguous(identity);
    this.#withdrawRefused(removed);
    this.#refusals ??= [];
    this.#refusals.push({ refusal, attempt, waits });
  }

  #withdrawRefused(calls: readonly Recorded[]): void {
    this.#refused ??= [];
    this.#refused.push(...calls);
    for (const call of calls) {
      this.claim(call);
      this.withdraw(call.address);
    }
  }

  /**
   * Call when all entries are added. Withdraws the waits of refused calls that are still open. Returns those for which
   * a withdrawal must be recorded, because they may receive an event or have received one.
   */
  withdrawRefusedWaits(): Recorded[] {
    for (const { refusal, attempt, waits } of this.#refusals ?? []) {
      const calls = waits.map((address) => this.#calls.get(address)).filter((call) => call?.siteAttempt === attempt);
      this.#withdrawRefused(
        this.matcher.markWaitsAmbiguous(
          calls.filter((call) => call !== undefined),
          refusal,
        ),
      );
    }
    return (this.#refused ?? []).filter(({ address, entry }) => {
      if (this.#withdrawals?.has(address) === true) return false;
      const hasEvent = entry?.value.type === "received" && entry.attempt === this.#attempt;
      return hasEvent || this.#waits?.has(address) === true;
    });
  }

  /** The handler has made the call again: it is no longer expected. */
  claim(call: Recorded): void {
    call.isClaimed = true;
    this.expected.remove(call);
    this.reusable.remove(call);
    this.#matcher?.claim(call);
  }

  /** The handler has withdrawn the call at this address: its entries are no longer expected. */
  withdraw(address: Address): void {
    this.#withdrawn ??= new Set();
    this.#withdrawn.add(address);
    for (const withdrawal of this.#withdrawals?.get(address) ?? []) this.claimAt(withdrawal);
  }

  /** The `seq` of the last delivery before this attempt withdrew the call; null if no withdrawal is recorded. */
  withdrawalOf(address: Address): number | null {
    const [first] = this.#withdrawals?.get(address) ?? [];
    return first === undefined ? null : (this.#calls.get(first)?.callSite?.madeAfter ?? null);
  }

  /** Whether the server may end a wait at one of these addresses, or one that the handler has not opened again yet. */
  mayEndWait(addresses: Iterable<Address>): boolean {
    if (this.#withdrawals === null) return true;
    const isOpen = (address: Address): boolean => {
      if (this.#facts?.has(address) === true || this.#facts?.has(withdrawnAddress(address)) === true) return false;
      return (this.#calls.get(address)?.entry ?? null) === null;
    };
    return [...addresses, ...(this.#waits ?? [])].some(isOpen);
  }

  /** Like `claim`, by address. Returns false when no call is recorded there. */
  claimAt(address: Address): boolean {
    const call = this.#calls.get(address);
    if (call === undefined || call.isEarlier) return false;
    this.claim(call);
    return true;
  }

  /** Reserves a new address: the smallest number that no alike call has. */
  newAddress(content: string): Address {
    const number = this.#nextNumber(content);
    this.#numbers.set(content, number + 1);
    return numbered(content, number);
  }

  /** The address that a new call of this content would get. */
  nextAddress(content: string): Address {
    return numbered(content, this.#nextNumber(content));
  }

  #nextNumber(content: string): number {
    let number = this.#numbers.get(content) ?? 0;
    while (this.#calls.has(numbered(content, number))) number += 1;
    return number;
  }

  /** The entry at this address that is not the value of a call: a try, an end of a child or an end of a wait. */
  peek(address: Address): Entry | undefined {
    return this.#facts?.get(address);
  }

  /** Whether the wait was open when the run was claimed, so that it need not be opened again. */
  hasWait(address: Address): boolean {
    return this.#waits?.has(address) === true;
  }

  /** The payload of the `nth` arrival of an event, from 0. */
  arrival(name: string, nth: number): Payload | undefined {
    return this.#arrivals?.get(name)?.[nth];
  }
}

function numbered(content: string, number: number): Address {
  return `${content}#${number}`;
}

/** The part of the address that alike calls share; the whole address of a withdrawal. */
function contentAt(address: Address): string {
  return address.endsWith(withdrawnEnd) ? address : address.slice(0, address.lastIndexOf("#"));
}

function sizeOf(value: Value): number {
  if (value.type === "returned") return value.output?.length ?? 0;
  if (value.type === "arrived" || value.type === "observed") return value.data?.length ?? 0;
  return value.type === "threw" ? value.error.message.length + (value.error.stack?.length ?? 0) : 0;
}
