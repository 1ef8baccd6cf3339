/**
 * Decides what happens to a durable call: it gets its recorded value, it reuses a value of an earlier attempt, it
 * begins as a new call, or it is withdrawn.
 */

import type { AikiError } from "@aikirun/lib";
import { openedWaitAddress, resultAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { Address, Entry, OpenWait } from "@aikirun/lib/protocol";
import { Call, type Identified, type OpenCall } from "./call.ts";
import type { CallDescription, Clash } from "./call-identifier.ts";
import type { EntryListener } from "./deliveries.ts";
import { ambiguous, withdrawn } from "./errors.ts";
import { lateIdentity } from "./identity.ts";
import type { NewCallKind } from "./new-calls.ts";
import type { Posted } from "./outbox.ts";
import { placeOf } from "./place.ts";
import { isOfBranch, type Recorded } from "./recorded.ts";
import type { ReplayScheduler } from "./replay-scheduler.ts";

/** A call with its identity. `clash` is not null when an earlier call cannot be distinguished from it. */
export interface IdentifiedCall {
  readonly made: Identified;
  readonly clash: Clash | null;
}

export class Calls {
  readonly #scheduler: ReplayScheduler;
  /** Calls that the handler withdrew earlier than an earlier execution did. `#withdrawDue` withdraws them later. */
  #early: Array<{ call: OpenCall; cause: unknown }> = [];

  constructor(scheduler: ReplayScheduler) {
    this.#scheduler = scheduler;
    scheduler.on = { relaxed: () => this.#matchByOrder(), drained: () => this.#withdrawDue() };
  }

  /** Throws `AikiError` `NESTED_CALL` inside a task or step. */
  identify(what: CallDescription): IdentifiedCall {
    return this.#scheduler.identifier.identify(what);
  }

  /** Like `identify`, for a call whose address differs from the given one only in its number. */
  identifyAt(address: Address): IdentifiedCall {
    const at = address.slice(0, address.lastIndexOf("#"));
    return this.#scheduler.identifier.identify({ kind: "child", name: null, content: null, at });
  }

  /** Gives the call its recorded value if the journal has one, or queues it to begin as a new call. */
  make(call: OpenCall, { clash }: IdentifiedCall, kind: NewCallKind, begin: () => void): void {
    const found = this.#find(call, clash);
    if (found === null) return;
    const adopt = (recorded: Recorded): void => this.#adopt(call, recorded, kind, begin);
    if (found === "new") this.#scheduler.newCalls.push({ call, kind, begin, adopt });
    else adopt(found);
    this.#scheduler.touch();
  }

  /** Like `make`, for a call that waits for a child's end; `open` opens the wait's timeout, if it has one. */
  makeForChild(call: OpenCall, { clash }: IdentifiedCall, child: Address, open: (() => void) | null): void {
    const found = this.#find(call, clash);
    if (found === null) return;
    const adopt = (recorded: Recorded): void => this.#adoptForChild(call, recorded, child, open);
    const begin = (): void => {
      open?.();
      this.#recordChildWait(call, child);
    };
    if (found === "new") this.#scheduler.newCalls.push({ call, kind: "wait", begin, adopt });
    else adopt(found);
    this.#scheduler.touch();
  }

  /** The identity of a call whose value is derived from the identity and not recorded. Throws `AMBIGUOUS_CALL`. */
  derive({ made, clash }: IdentifiedCall): string {
    const derived = this.#scheduler.identifier.derive(made);
    const ambiguous = clash ?? derived.clash;
    if (ambiguous !== null) throw this.#refuse(made, ambiguous);
    this.beginBranch(derived.identity);
    return derived.identity;
  }

  /** Call when a branch begins that continues after no recorded call. */
  beginBranch(name: string): void {
    const { expected, matcher } = this.#scheduler.journal;
    if (expected.size > 0) matcher.branches.begin(name);
  }

  /**
   * Withdraws a call that is never made, because its signal had already aborted. The call is counted among alike calls,
   * so that later calls keep their identities. It is refused if it cannot be distinguished from an earlier call,
   * because a replay could match the two in the other order.
   */
  skip(call: OpenCall, { made, clash }: IdentifiedCall, cause: unknown): void {
    const derived = this.#scheduler.identifier.derive(made);
    const ambiguous = clash ?? derived.clash;
    if (ambiguous !== null && this.#scheduler.isOpen) this.#refuse(made, ambiguous);
    else call.withdraw(withdrawn(cause));
  }

  /** The recorded value of a synchronous call such as `now()`; null when there is none. Throws `AMBIGUOUS_CALL`. */
  observe({ made, clash }: IdentifiedCall): Recorded | null {
    if (clash !== null) throw this.#refuse(made, clash);
    const matched = this.#scheduler.journal.match(made, this.#delivered);
    if (matched === "ambiguous") throw this.#refuse(made, unknownClash(made));
    const found = matched === "new" && this.#scheduler.callWait.isRelaxed ? this.#findByOrder(made) : matched;
    if (found === "new" || found === null) return null;
    this.#updatePoint(made, found);
    this.#scheduler.journal.claim(found);
    return found.entry === null ? null : found;
  }

  /** Opens a wait of the call with the next report, and listens for its end. */
  openWait(call: OpenCall, wait: OpenWait, listener: EntryListener = call): void {
    call.waits.push(wait.address);
    this.#scheduler.deliveries.listen(wait.address, listener);
    if (!this.#scheduler.journal.hasWait(wait.address)) this.#scheduler.outbox.open({ wait, call });
    this.#scheduler.touch();
  }

  /** Withdraws the call: its promise rejects, and its waits and tries end. */
  withdraw(call: OpenCall, cause: unknown): void {
    if (!call.open || this.#isTooEarly(call, cause)) return;
    const { deliveries, work } = this.#scheduler;
    const reason = withdrawn(cause);
    deliveries.close(call);
    call.withdraw(reason);
    work.abortCalls((other) => other === call, reason);
    if (call.address !== null) this.#scheduler.journal.withdraw(call.address);
    for (const address of call.waits) this.#withdrawWait(call, address);
    this.#scheduler.touch();
  }

  /** After each delivery: withdraws the calls that were withdrawn too early on this replay. */
  #withdrawDue(): void {
    const due = this.#early;
    this.#early = [];
    for (const { call, cause } of due) this.withdraw(call, cause);
  }

  /**
   * On a replay, non-durable asynchronous work may withdraw a call earlier than before. The call is then withdrawn only
   * after the same deliveries as before. A call whose value the handler received before is not withdrawn at all.
   */
  #isTooEarly(call: OpenCall, cause: unknown): boolean {
    const { journal, identifier } = this.#scheduler;
    if (identifier.drain !== null || call.address === null) return false;
    const withdrawal = journal.withdrawalOf(call.address);
    if (withdrawal === null) return call.seq !== null && journal.wasDelivered(call.seq);
    if (withdrawal <= this.#delivered) return false;
    this.#early.push({ call, cause });
    return true;
  }

  /** Returns null if the call stays pending: the run has ended, or the call was refused. */
  #find(call: OpenCall, clash: Clash | null): Recorded | "new" | null {
    const { made } = call;
    if (!this.#scheduler.isOpen) return null;
    // mutant: clash
    if (clash !== null) {
      this.#refuse(made, clash);
      return null;
    }
    const found = this.#scheduler.journal.match(made, this.#delivered);
    if (found === "ambiguous") {
      this.#refuse(made, unknownClash(made));
      return null;
    }
    this.#scheduler.deliveries.made();
    if (found === "new" && !this.#scheduler.journal.knowsFailures) made.point.isChanged = true;
    return found === "new" && this.#scheduler.callWait.isRelaxed ? (this.#findByOrder(made) ?? found) : found;
  }

  #adopt(call: OpenCall, found: Recorded, kind: NewCallKind, begin: () => void): void {
    const { deliveries, newCalls } = this.#scheduler;
    const { entry, isEarlier, address } = found;
    this.#take(call, found);
    if (isEarlier && entry !== null) {
      const begin = (): void => this.#reuse(call, entry);
      newCalls.push({ call, kind: "start", begin, adopt: unneeded, reused: entry.seq });
    } else if (entry !== null) {
      call.seq = entry.seq;
      deliveries.later(call, entry.seq, entry.value);
      // Frees the payload once the handler has received it.
      found.entry = null;
    } else if (kind === "wait" && !isEarlier) {
      call.waits.push(address);
      deliveries.listen(address, call);
    } else {
      newCalls.push({ call, kind, begin, adopt: unneeded });
    }
  }

  #adoptForChild(call: OpenCall, found: Recorded, child: Address, open: (() => void) | null): void {
    this.#take(call, found);
    call.askedSeq = found.askedSeq;
    const isAnswered = this.#awaitChild(call, child);
    if (isAnswered || open === null) return;
    if (this.#scheduler.journal.hasWait(found.address)) open();
    else this.#scheduler.newCalls.push({ call, kind: "wait", begin: open, adopt: unneeded });
  }

  /** The recorded call matches: the call gets its address, and the branch that continues after it. */
  #take(call: OpenCall, found: Recorded): void {
    this.#updatePoint(call.made, found);
    call.address = found.address;
    call.firstIdentity = found.firstIdentity ?? call.firstIdentity;
    const { content, unkeyed } = call.made;
    // A call that was recorded without a key keeps that identity, unless another call with a key has taken it over.
    if (found.content !== content && unkeyed !== null && this.#scheduler.journal.matcher.takeOver(unkeyed.identity))
      call.identity = unkeyed.identity;
    if (!found.isEarlier) {
      call.recorded = found.callSite;
      call.identity = found.callSite?.identity ?? call.identity;
    }
    this.#scheduler.journal.claim(found);
  }

  #updatePoint({ content, branch, group, identity, unkeyed, point }: Identified, found: Recorded): void {
    const { callSite, isEarlier, entry } = found;
    if (callSite === null) return;
    if (found.branchAfter !== null) point.branch = found.branchAfter;
    else if (found.content !== content && unkeyed !== null) point.branch = unkeyed.branchAfter;
    if (isEarlier) point.isChanged = entry === null || !isOfBranch(found, branch);
    else if (found.isReused) point.isChanged = false;
    else point.isChanged ||= found.isRedone || !isOfBranch(found, branch);
    if (isEarlier || callSite.branch === undefined) return;
    const own = callSite.identity === identity ? group : callSite.identity === unkeyed?.identity ? unkeyed.group : null;
    if (own !== null) own.recorded ??= found;
  }

  /** Records that this attempt reused a value of an earlier one, so that its replays reuse it in the same order. */
  #reuse(call: OpenCall, { address, seq, value }: Entry): void {
    this.#scheduler.settle(call, { address, value: { type: "reused", seq } }, value); // mutant: reused
  }

  /** Records that the handler waits for the child's end. */
  #recordChildWait(call: OpenCall, child: Address): void {
    const { journal, deliveries, outbox } = this.#scheduler;
    const entry = { address: openedWaitAddress(addressOfCall(call)), value: { type: "asked" } } as const;
    const ended = journal.peek(resultAddress(child));
    if (ended !== undefined) {
      this.#scheduler.settle(call, entry, ended.value);
      return;
    }
    const recorded = (seq: number): void => {
      call.askedSeq = seq;
      if (call.open) this.#awaitChild(call, child);
    };
    const posted: Posted = { entry, call, seen: false, recorded, isDeferred: true };
    deliveries.awaitChild(call);
    deliveries.listen(resultAddress(child), () => outbox.undefer(posted));
    this.#scheduler.post(posted);
  }

  /** Returns false when the child has not ended yet. */
  #awaitChild(call: OpenCall, child: Address): boolean {
    const { journal, deliveries } = this.#scheduler;
    const own = addressOfCall(call);
    const ends = [journal.peek(resultAddress(child)), journal.peek(own)];
    const known = ends.filter((entry) => entry !== undefined);
    for (const { seq, value } of known) deliveries.later(call, seq, value);
    if (known.length > 0) return true;
    deliveries.awaitChild(call);
    deliveries.listen(resultAddress(child), call);
    return false;
  }

  #withdrawWait(withdrawnCall: OpenCall, wait: Address): void {
    const { outbox, journal, newCalls } = this.#scheduler;
    if (outbox.withdrawWait(wait)) return;
    if (journal.claimAt(withdrawnAddress(wait))) return;
    const withdrawal = this.#withdrawalOf(withdrawnCall, wait);
    const { call } = withdrawal;
    const begin = (): void => {
      call.open = false;
      this.#scheduler.post(withdrawal);
    };
    newCalls.push({ call, kind: "start", begin, adopt: unneeded });
  }

  /** Withdraws the open waits of refused calls, so that events are delivered to other waits. */
  withdrawRefused(): void {
    const { identifier, journal } = this.#scheduler;
    for (const { address, content, callSite } of journal.withdrawRefusedWaits()) {
      const withdrawnCall = new Call(identifier.identifyFact(content, ""), () => undefined);
      withdrawnCall.recorded = callSite;
      const withdrawal = this.#withdrawalOf(withdrawnCall, address);
      withdrawal.call.open = false;
      this.#scheduler.post({ ...withdrawal, isDeferred: true });
    }
  }

  #withdrawalOf(withdrawnCall: OpenCall, wait: Address): Posted & { call: Call<undefined> } {
    const address = withdrawnAddress(wait);
    const call = new Call(this.#scheduler.identifier.identifyFact(address, lateIdentity(address, "")), () => undefined);
    call.address = address;
    return { entry: { address, value: { type: "withdrawn" } }, call, wait: withdrawnCall, seen: false, recorded: null };
  }

  /** Matches calls by their order, because code that has changed may make its calls in other places. */
  #matchByOrder(): void {
    this.#scheduler.newCalls.takeIf(({ call, adopt }) => {
      const first = call.address === null ? this.#findByOrder(call.made) : null;
      if (first !== null) adopt(first);
      return first !== null;
    });
  }

  #findByOrder(made: Identified): Recorded | null {
    const { journal, callWait } = this.#scheduler;
    const only = journal.matcher.soleOfBranch(made);
    if (only !== null) return only;
    const first = journal.matcher.first(made);
    if (first === undefined || !callWait.mayBeOfOtherCode(first)) return null;
    made.point.isChanged = true;
    return first;
  }

  /** Stalls the run: two calls cannot be distinguished, so neither of them gets a value. */
  #refuse(made: Identified, { identity, places }: Clash): AikiError {
    const error = ambiguous(made.content, places);
    const call = this.#scheduler.journal.nextAddress(made.content);
    this.#scheduler.stall({ reason: "ambiguous_call", call, identity, places });
    const isClashing = (other: OpenCall): boolean => other.identity === identity;
    this.#scheduler.outbox.dropCalls(isClashing);
    this.#scheduler.work.abortCalls(isClashing, error);
    return error;
  }

  /** The `seq` of the last delivery. A value that is not recorded yet comes after all recorded ones. */
  get #delivered(): number {
    const { after } = this.#scheduler.identifier;
    return typeof after === "number" ? after : (after.seq ?? Number.MAX_SAFE_INTEGER);
  }
}

/** The address of the call, once it has begun; its content before. */
export function addressOfCall({ address, made }: OpenCall): Address {
  return address ?? made.content;
}

/** A clash of a call that may match several recorded calls. */
function unknownClash({ identity }: Identified): Clash {
  return { identity, places: [placeOf(new Error())] };
}

function unneeded(): void {}
