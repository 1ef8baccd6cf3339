/** What becomes of a durable call: answered from the record, recalled from an earlier attempt, begun, or withdrawn. */

import type { AikiError } from "@aikirun/lib";
import { askAddress, resultAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { Address, Entry, OpenWait } from "@aikirun/lib/protocol";
import { Call, type Identified, type OpenCall } from "./call.ts";
import type { Clash, What } from "./caller.ts";
import type { Listener } from "./deliveries.ts";
import { ambiguous, withdrawn } from "./errors.ts";
import { lateIdentity } from "./identity.ts";
import type { NewCallKind } from "./new-calls.ts";
import type { Posted } from "./outbox.ts";
import { placeOf } from "./place.ts";
import { isOfBranch, type Recorded } from "./recorded.ts";
import type { ReplayScheduler } from "./replay-scheduler.ts";

/** A call on its way: what it is, and whether an earlier one cannot be told from it. */
export interface Making {
  readonly made: Identified;
  readonly clash: Clash | null;
}

export class Calls {
  readonly #scheduler: ReplayScheduler;
  /** Calls that are given up earlier than they were. */
  #early: Array<{ call: OpenCall; cause: unknown }> = [];

  constructor(scheduler: ReplayScheduler) {
    this.#scheduler = scheduler;
    scheduler.on = { relaxed: () => this.#matchByOrder(), drained: () => this.#withdrawDue() };
  }

  /** Throws `AikiError` `NESTED_CALL` inside a task or step. */
  identify(what: What): Making {
    return this.#scheduler.caller.identify(what);
  }

  /** The same of a call that is recorded at addresses such as this one. */
  identifyAt(address: Address): Making {
    const at = address.slice(0, address.lastIndexOf("#"));
    return this.#scheduler.caller.identify({ kind: "child", name: null, content: null, at });
  }

  /** Answers the call from the record, or has it begun when its time has come. */
  make(call: OpenCall, { clash }: Making, kind: NewCallKind, begin: () => void): void {
    const found = this.#find(call, clash);
    if (found === null) return;
    const adopt = (recorded: Recorded): void => this.#adopt(call, recorded, kind, begin);
    if (found === "new") this.#scheduler.newCalls.push({ call, kind, begin, adopt });
    else adopt(found);
    this.#scheduler.touch();
  }

  /** The same of a call that waits for a child's end; `open` opens its own wait, if it has a timeout. */
  makeForChild(call: OpenCall, { clash }: Making, child: Address, open: (() => void) | null): void {
    const found = this.#find(call, clash);
    if (found === null) return;
    const adopt = (recorded: Recorded): void => this.#adoptForChild(call, recorded, child, open);
    const begin = (): void => {
      open?.();
      this.#ask(call, child);
    };
    if (found === "new") this.#scheduler.newCalls.push({ call, kind: "wait", begin, adopt });
    else adopt(found);
    this.#scheduler.touch();
  }

  /** Tells a call whose value is derived from it and not recorded. Throws `AMBIGUOUS_CALL`. */
  derive({ made, clash }: Making): string {
    const derived = this.#scheduler.caller.derive(made);
    const ambiguous = clash ?? derived.clash;
    if (ambiguous !== null) throw this.#refuse(made, ambiguous);
    return derived.identity;
  }

  /** A call that is given up before it is made. */
  forgo({ made }: OpenCall): void {
    this.#scheduler.caller.derive(made);
  }

  /** What is recorded of a call that is answered at once; null when nothing is. Throws `AMBIGUOUS_CALL`. */
  observe({ made, clash }: Making): Recorded | null {
    if (clash !== null) throw this.#refuse(made, clash);
    const found = this.#scheduler.journal.match(made, this.#delivered);
    if (found === "ambiguous") throw this.#refuse(made, unknownClash(made));
    if (found === "new") return null;
    this.#note(made, found);
    this.#scheduler.journal.claim(found);
    return found.entry === null ? null : found;
  }

  /** Opens a wait of the call with the next report, and listens for its end. */
  openWait(call: OpenCall, wait: OpenWait, listener: Listener = call): void {
    call.waits.push(wait.address);
    this.#scheduler.deliveries.listen(wait.address, listener);
    if (!this.#scheduler.journal.hasWait(wait.address)) this.#scheduler.outbox.open({ wait, call });
    this.#scheduler.touch();
  }

  /** The handler no longer wants what the call comes to. */
  withdraw(call: OpenCall, cause: unknown): void {
    if (!call.open || this.#isTooEarly(call, cause)) return;
    const { deliveries, work } = this.#scheduler;
    const reason = withdrawn(cause);
    deliveries.close(call);
    call.withdraw(reason);
    work.abortCalls((other) => other === call, reason);
    if (call.address !== null) this.#scheduler.journal.giveUp(call.address);
    for (const address of call.waits) this.#withdrawWait(call, address);
    this.#scheduler.touch();
  }

  /** After a delivery, outside of it: what was given up before comes to that no earlier than it did. */
  #withdrawDue(): void {
    const due = this.#early;
    this.#early = [];
    for (const { call, cause } of due) this.withdraw(call, cause);
  }

  /**
   * Plain work may give a call up earlier on a replay than it did: then the call is given up once what the handler had
   * been given before is delivered again. A call whose value the handler was given before is not given up at all.
   */
  #isTooEarly(call: OpenCall, cause: unknown): boolean {
    const { journal, caller } = this.#scheduler;
    if (caller.drain !== null || call.address === null) return false;
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
    return found === "new" && this.#scheduler.callWait.isRelaxed ? (this.#byOrder(made) ?? found) : found;
  }

  #adopt(call: OpenCall, found: Recorded, kind: NewCallKind, begin: () => void): void {
    const { deliveries, newCalls } = this.#scheduler;
    const { entry, isEarlier, address } = found;
    this.#take(call, found);
    if (isEarlier && entry !== null) {
      const begin = (): void => this.#recall(call, entry);
      newCalls.push({ call, kind: "start", begin, adopt: unneeded, recalled: entry.seq });
    } else if (entry !== null) {
      call.seq = entry.seq;
      deliveries.later(call, entry.seq, entry.value);
      // Its payload is kept no longer than until the handler has it.
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
    call.askSeq = found.askSeq;
    const isAnswered = this.#awaitChild(call, child);
    if (isAnswered || open === null) return;
    if (this.#scheduler.journal.hasWait(found.address)) open();
    else this.#scheduler.newCalls.push({ call, kind: "wait", begin: open, adopt: unneeded });
  }

  /** The call is the recorded one, and so is the branch that goes on from it. */
  #take(call: OpenCall, found: Recorded): void {
    this.#note(call.made, found);
    call.address = found.address;
    call.lineage = found.lineage ?? call.lineage;
    const { content, unkeyed } = call.made;
    // What is recorded without a key goes on being found without it.
    if (found.content !== content && unkeyed !== null) call.identity = unkeyed.identity;
    if (!found.isEarlier) {
      call.recorded = found.callSite;
      call.identity = found.callSite?.identity ?? call.identity;
    }
    this.#scheduler.journal.claim(found);
  }

  #note({ content, branch, group, identity, unkeyed, point }: Identified, found: Recorded): void {
    const { callSite, isEarlier, entry } = found;
    if (callSite === null) return;
    if (found.path !== null) point.branch = found.path;
    else if (found.content !== content && unkeyed !== null) point.branch = unkeyed.path;
    if (isEarlier) point.isChanged = entry === null || !isOfBranch(found, branch);
    else if (found.isRecalled) point.isChanged = false;
    else point.isChanged ||= found.isRedone;
    if (isEarlier || callSite.branch === undefined) return;
    const own = callSite.identity === identity ? group : callSite.identity === unkeyed?.identity ? unkeyed.group : null;
    if (own !== null) own.recorded ??= found;
  }

  /** A later attempt records what it was given by an earlier one, so that its replays give it in the same order. */
  #recall(call: OpenCall, { address, seq, value }: Entry): void {
    this.#scheduler.settle(call, { address, value: { type: "recalled", seq } }, value); // mutant: recalled
  }

  /** Records that the handler asks for the child's end. */
  #ask(call: OpenCall, child: Address): void {
    const { journal, deliveries, outbox } = this.#scheduler;
    const entry = { address: askAddress(addressOfCall(call)), value: { type: "asked" } } as const;
    const ended = journal.peek(resultAddress(child));
    if (ended !== undefined) {
      this.#scheduler.settle(call, entry, ended.value);
      return;
    }
    const recorded = (seq: number): void => {
      call.askSeq = seq;
      if (call.open) this.#awaitChild(call, child);
    };
    const posted: Posted = { entry, call, seen: false, recorded, isDeferred: true };
    deliveries.awaitChild(call);
    deliveries.listen(resultAddress(child), () => outbox.hurry(posted));
    this.#scheduler.post(posted);
  }

  /** False when it has not ended yet. */
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

  #withdrawWait(given: OpenCall, wait: Address): void {
    const { outbox, journal, newCalls } = this.#scheduler;
    if (outbox.withdrawWait(wait)) return;
    if (journal.claimAt(withdrawnAddress(wait))) return;
    const withdrawal = this.#withdrawalOf(given, wait);
    const { call } = withdrawal;
    const begin = (): void => {
      call.open = false;
      this.#scheduler.post(withdrawal);
    };
    newCalls.push({ call, kind: "start", begin, adopt: unneeded });
  }

  /** Withdraws the waits that refused calls have left behind, so that events go to other waits. */
  withdrawRefused(): void {
    const { caller, journal } = this.#scheduler;
    for (const { address, content, callSite } of journal.giveUpRefusedWaits()) {
      const given = new Call(caller.unmade(content, ""), () => undefined);
      given.recorded = callSite;
      const withdrawal = this.#withdrawalOf(given, address);
      withdrawal.call.open = false;
      this.#scheduler.post({ ...withdrawal, isDeferred: true });
    }
  }

  #withdrawalOf(given: OpenCall, wait: Address): Posted & { call: Call<undefined> } {
    const address = withdrawnAddress(wait);
    const call = new Call(this.#scheduler.caller.unmade(address, lateIdentity(address, "")), () => undefined);
    call.address = address;
    return { entry: { address, value: { type: "withdrawn" } }, call, wait: given, seen: false, recorded: null };
  }

  /** Code that may have changed makes calls elsewhere: what cannot be told apart otherwise is, by order. */
  #matchByOrder(): void {
    this.#scheduler.newCalls.takeIf(({ call, adopt }) => {
      const first = call.address === null ? this.#byOrder(call.made) : null;
      if (first !== null) adopt(first);
      return first !== null;
    });
  }

  #byOrder(made: Identified): Recorded | null {
    const { journal, callWait } = this.#scheduler;
    const only = journal.matcher.soleOfBranch(made);
    if (only !== null) return only;
    const first = journal.matcher.first(made);
    return first !== undefined && callWait.mayBeChanged(first) ? first : null;
  }

  /** Neither of two calls that cannot be told apart is answered. */
  #refuse(made: Identified, { identity, places }: Clash): AikiError {
    const error = ambiguous(made.content, places);
    const call = this.#scheduler.journal.nextAddress(made.content);
    this.#scheduler.stall({ reason: "ambiguous_call", call, identity, places });
    const isClashing = (other: OpenCall): boolean => other.identity === identity;
    this.#scheduler.outbox.dropCalls(isClashing);
    this.#scheduler.work.abortCalls(isClashing, error);
    return error;
  }

  /** The `seq` of the last delivery; what is not recorded yet comes after all that is. */
  get #delivered(): number {
    const { after } = this.#scheduler.caller;
    return typeof after === "number" ? after : (after.seq ?? Number.MAX_SAFE_INTEGER);
  }
}

/** Where the call is recorded: known once it has begun. */
export function addressOfCall({ address, made }: OpenCall): Address {
  return address ?? made.content;
}

/** The record holds several calls that this one may be. */
function unknownClash({ identity }: Identified): Clash {
  return { identity, places: [placeOf(new Error())] };
}

function unneeded(): void {}
