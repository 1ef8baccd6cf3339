/**
 * What moves an execution: it turns whenever nothing in the handler can go further by itself (quiescence).
 *
 *  P1  Recorded values that were asked for are delivered one at a time, in order of `seq`, each followed by quiescence.
 *  P2  Only when all of them are delivered does anything new begin, and only if nothing recorded is left unclaimed.
 *  P3  No effect begins before everything the handler has seen is recorded.
 *  P4  While more than one call is open, a value is delivered after it is recorded; a lone call's may come before.
 *  P5  One report is in flight at most.
 */

import { AikiError, describeError } from "@aikirun/lib";
import type { ClaimedRun, Entry, Next, OpenWait, Value } from "@aikirun/lib/protocol";
import { type Answer, givenUp, sliceEnd } from "./answer.ts";
import { type Beginning, type BeginningKind, Beginnings } from "./beginnings.ts";
import type { OpenCall } from "./call.ts";
import type { Host, SliceEnd } from "./contract.ts";
import { Deliveries } from "./deliveries.ts";
import type { Journal } from "./journal.ts";
import { Outbox, type Parcel, type Posted, type PostedStart } from "./outbox.ts";
import { Watchdog } from "./watchdog.ts";
import { Work } from "./work.ts";

/** So long, without durable activity, must unclaimed entries stand in a new call's way before the run has diverged. */
const divergenceMs = 1_000;
/** When to ask again whether effects may begin. */
const recheckMs = 250;

/** How the handler ended. */
export type Conclusion = Extract<Next, { type: "finish" }>["outcome"];

/** A report under way. */
interface Reporting {
  parcel: Parcel;
  next: Next;
}

export class Pump {
  readonly host: Host;
  readonly journal: Journal;
  readonly deliveries: Deliveries;
  readonly claimed: ClaimedRun;
  readonly work: Work;
  /** Of the newest claim. */
  fence: number;
  /** True while the handler only repeats what it did before. */
  replaying: boolean;
  readonly #idleMs: number;
  readonly #outbox = new Outbox();
  readonly #beginnings = new Beginnings();
  readonly #watchdog: Watchdog<"diverged" | "idle" | "recheck">;
  #seen: number;
  #mode: "running" | "parked" | "spent" = "running";
  #conclusion: Conclusion | null = null;
  #reporting: Reporting | null = null;
  #news: Array<{ entries: Entry[]; inbox: number }> = [];
  #draining: "shutdown" | "paused" | null = null;
  /** What a handler at rest for too long comes to. */
  #verdict: Next | null = null;
  #isQuiet = false;
  #isScheduled = false;
  #isListening = false;
  #isOverLimit = false;
  #isReclaiming = false;
  #openWhenParked = 0;
  #endSlice: (end: SliceEnd) => void = () => {};

  constructor(claimed: ClaimedRun, journal: Journal, host: Host, idleMs: number) {
    this.host = host;
    this.claimed = claimed;
    this.journal = journal;
    this.deliveries = new Deliveries(journal);
    this.fence = claimed.fence;
    this.#seen = claimed.inbox;
    this.#idleMs = idleMs;
    this.work = new Work(host.env);
    this.#watchdog = new Watchdog(host.env);
    this.replaying = journal.unclaimed > 0;
  }

  get position(): { readonly seen: number; readonly after: number } {
    return { seen: this.#seen, after: this.journal.tail };
  }

  // What the worker does with it.

  /** Runs until the run leaves this worker's hands. */
  slice(): Promise<SliceEnd> {
    return new Promise((resolve) => {
      this.#endSlice = resolve;
      this.#touch();
    });
  }

  resume(claimed: ClaimedRun): Promise<SliceEnd> {
    // A claim can overtake the answer that the run was parked.
    if (this.#reporting?.next.type === "suspend") this.#end({ type: "parked" });
    if (this.#mode !== "parked" || claimed.attempt !== this.claimed.attempt) {
      return Promise.resolve({ type: "lost", code: "NOT_RESUMABLE" });
    }
    this.#mode = "running";
    this.#isReclaiming = false;
    this.fence = claimed.fence;
    this.#seen = claimed.inbox;
    this.#receive(claimed.journal, claimed.journal.at(-1)?.seq ?? 0);
    return this.slice();
  }

  news(entries: Entry[], inbox: number): void {
    if (this.#mode !== "running") return;
    if (this.#reporting !== null) {
      this.#news.push({ entries, inbox });
      return;
    }
    const fresh = this.journal.following(entries);
    if (fresh === null) return;
    this.#seen = Math.max(this.#seen, inbox);
    if (fresh.length === 0) return;
    this.#receive(fresh, this.journal.tail + fresh.length);
    this.#schedule();
  }

  drain(reason: "shutdown" | "paused"): void {
    if (this.#mode !== "running") return;
    this.#draining ??= reason;
    for (const then of this.work.cutDelays()) then();
    this.#schedule();
  }

  abandon(code: string): void {
    this.#end({ type: "lost", code });
  }

  // What durable calls do with it.

  /** A durable call of the handler: answered from the record, else begun when its time has come. */
  ask(call: OpenCall, kind: BeginningKind, begin: () => void): void {
    if (!this.deliveries.ask(call)) {
      // A wait of an earlier slice may end before it is opened again.
      if (kind === "wait") this.deliveries.listen(call.address, call);
      this.#beginnings.push({ call, kind, begin });
    }
    this.#touch();
  }

  /** A call that hears of a child's end; with `begin`, of its own wait's end too. */
  askForChild(call: OpenCall, result: string, begin: (() => void) | null): void {
    if (!this.deliveries.askForChild(call, result, begin !== null) && begin !== null) {
      this.deliveries.listen(call.address, call);
      this.#beginnings.push({ call, kind: "wait", begin });
    }
    this.#touch();
  }

  /** Opens a wait with the next report. */
  openWait(wait: OpenWait): void {
    this.#outbox.open(wait);
    this.#schedule();
  }

  /** Starts a child with the next report. */
  startChild(posted: PostedStart): void {
    this.#outbox.start(posted);
    this.#schedule();
  }

  /** Records with the next report. */
  post(posted: Posted): void {
    if (this.#mode === "spent") return;
    this.#outbox.post(posted);
    this.#touch();
  }

  /** A call has come to its value. */
  settle(call: OpenCall, entry: Posted["entry"] & { value: Extract<Value, { type: "returned" | "threw" }> }): void {
    if (this.#mode !== "running" || this.#conclusion !== null) return;
    const isLone = this.deliveries.open === 1;
    const recorded = (seq: number): void => this.deliveries.later(call, seq, entry.value);
    this.post({ entry, seen: isLone, recorded: isLone ? null : recorded });
    if (isLone) this.deliveries.deliver(call, entry.value);
  }

  /** Something goes on that nothing recorded answers. */
  enqueue(beginning: Beginning): void {
    this.#beginnings.push(beginning);
    this.#touch();
  }

  /** Goes on after a delay, in milliseconds, which holds the slot. */
  enqueueAfter(delayMs: number, beginning: Beginning): void {
    if (this.#mode === "spent") return;
    if (this.#draining === null) this.work.after(delayMs, () => this.enqueue(beginning));
    else this.enqueue(beginning);
  }

  /** Holds the slot until `work`, which never rejects, is done. */
  async hold(work: () => Promise<void>): Promise<void> {
    await this.work.hold(work);
    this.#touch();
  }

  /** The handler returned or threw. */
  conclude(conclusion: Conclusion): void {
    this.#conclusion ??= conclusion;
    this.#touch();
  }

  // The turn.

  /** Durable activity: what was about to be said of a handler at rest no longer holds. */
  #touch(): void {
    this.#isQuiet = false;
    this.#verdict = null;
    this.#watchdog.clear();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#mode === "spent") return;
    this.#isScheduled = true;
    this.host.env.soon(() => {
      this.#isScheduled = false;
      this.#isQuiet = true;
      this.#turn();
    });
  }

  #turn(): void {
    if (this.#mode === "parked" && !this.#isReclaiming && this.#isStirring()) {
      this.#isReclaiming = true;
      this.host.reclaim();
    }
    if (this.#mode !== "running") return;
    // While the run is being handed over, nothing may begin here.
    if (this.#reporting !== null && this.#reporting.next.type !== "continue") return;
    if (this.#conclusion === null) {
      if (this.#deliverNext()) return;
      this.#begin();
    }
    if (this.#reporting !== null) return;
    const next = this.#next();
    if (next !== null) this.#report(next);
    else this.#rest();
  }

  /** P1. */
  #deliverNext(): boolean {
    const delivery = this.deliveries.next();
    if (delivery === undefined) return false;
    if (this.journal.unclaimed === 0 && !this.deliveries.hasReady) this.replaying = false;
    this.deliveries.deliver(delivery.call, delivery.value);
    this.#touch();
    return true;
  }

  /** P2, P3. */
  #begin(): void {
    this.#beginnings.forgetAnswered();
    if (this.#beginnings.size === 0 || this.journal.unclaimed > 0) return;
    const isRecorded = !this.#outbox.seen && this.#reporting?.parcel.seen !== true;
    const start = this.#draining === null;
    const effect = start && isRecorded && this.host.mayBegin();
    this.replaying = false;
    for (const { begin } of this.#beginnings.take({ wait: true, start, effect })) begin();
  }

  /** What to report now; null when there is nothing to say. */
  #next(): Next | null {
    if (this.#conclusion !== null) return { type: "finish", outcome: this.#conclusion };
    const { isBusy } = this.work;
    const canMove = isBusy || this.#beginnings.size > 0 || this.#outbox.moves;
    const isWaiting = !canMove && this.deliveries.open > 0;
    // A value that comes with the next answer may let the handler finish.
    const isDrained = !isBusy && !this.#outbox.moves && !(isWaiting && this.#draining === "shutdown");
    if (this.#draining !== null && isDrained) return { type: "release", reason: this.#draining };
    if (isWaiting) return { type: "suspend", children: this.deliveries.children };
    if (this.#outbox.urgent || (this.#outbox.seen && this.#beginnings.size > 0)) return { type: "continue" };
    return this.#verdict;
  }

  /** Nothing to say: the handler awaits tasks, or something plain, or stands before what may not begin. */
  #rest(): void {
    this.#listen(this.deliveries.awaitsNews);
    const { first } = this.#beginnings;
    if (first !== undefined && this.journal.unclaimed === 0) {
      this.#watchdog.set("recheck", recheckMs, () => this.#schedule());
    } else if (this.work.isBusy) {
      this.#watchdog.clear();
    } else if (first === undefined) {
      this.#watchdog.set("idle", this.#idleMs, () => this.#judge({ type: "release", reason: "idle" }));
    } else {
      const unclaimed = this.journal.unclaimedAddresses();
      const verdict: Next = { type: "diverged", call: first.address, unclaimed };
      this.#watchdog.set("diverged", divergenceMs, () => this.#judge(verdict));
    }
  }

  #judge(verdict: Next): void {
    this.#verdict = verdict;
    this.#schedule();
  }

  #listen(open: boolean): void {
    if (this.#isListening === open) return;
    this.#isListening = open;
    this.host.listening(open);
  }

  #isStirring(): boolean {
    return this.#conclusion !== null || !this.#outbox.empty || this.deliveries.open > this.#openWhenParked;
  }

  #report(next: Next): void {
    if (next.type === "finish") {
      this.work.abortFlights("RUN_ENDED", "The run ended without waiting for this task.", this.claimed.id);
      this.#outbox.dropWaits();
    }
    if (next.type === "suspend") this.#openWhenParked = this.deliveries.open;
    const parcel = this.#outbox.take();
    const then: Next = parcel.whole ? next : { type: "continue" };
    this.#reporting = { parcel, next: then };
    const entries = parcel.entries.map(({ entry }) => entry);
    const starts = parcel.starts.map(({ start }) => start);
    const draft = { seen: this.#seen, after: this.journal.tail, entries, opens: parcel.opens, starts, next: then };
    this.host.report(draft).then(
      (answer) => this.#answered(parcel, then, answer),
      (thrown) => this.#answered(parcel, then, givenUp(thrown)),
    );
  }

  #answered(parcel: Parcel, next: Next, answer: Answer): void {
    if (this.#reporting?.parcel !== parcel) return;
    this.#reporting = null;
    if (answer.ok) this.#accepted(parcel, next, answer);
    else this.#refused(answer.code, answer.message);
  }

  #accepted(parcel: Parcel, next: Next, answer: Extract<Answer, { ok: true }>): void {
    this.#seen = answer.inbox;
    let seq = answer.first;
    for (const { recorded } of [...parcel.entries, ...parcel.starts]) {
      recorded?.(seq);
      seq += 1;
    }
    this.#receive(answer.entries, answer.tail);
    const end = sliceEnd(next, answer.parked);
    if (end !== null) this.#end(end);
    else this.#goOn(answer.pause);
  }

  #goOn(pause: boolean): void {
    if (pause) this.drain("paused");
    const heard = this.#news;
    this.#news = [];
    for (const { entries, inbox } of heard) this.news(entries, inbox);
    if (this.#isQuiet) this.#turn();
  }

  #receive(entries: readonly Entry[], tail: number): void {
    const known = this.journal.tail;
    for (const entry of entries.filter(({ seq }) => seq > known)) {
      this.deliveries.receive(entry);
      this.#outbox.dropWait(entry.address);
    }
    this.journal.advance(tail);
  }

  /** A limit that refuses the report refuses its repeat too: the run fails and says why. */
  #refused(code: string, message: string): void {
    if (code !== "LIMIT_EXCEEDED" || this.#isOverLimit) {
      this.#end({ type: "lost", code });
      return;
    }
    this.#isOverLimit = true;
    this.#outbox.clear();
    const error = describeError(new AikiError(code, message, { ids: { runId: this.claimed.id } }));
    this.#conclusion = { status: "failed", error, retryInMs: null };
    this.#turn();
  }

  #end(end: SliceEnd): void {
    if (this.#mode === "spent") return;
    this.#mode = end.type === "parked" ? "parked" : "spent";
    this.#watchdog.clear();
    this.#listen(false);
    this.#draining = null;
    this.#reporting = null;
    this.#news = [];
    // What the handler did while the report was under way is looked at once more.
    if (end.type === "parked") this.#schedule();
    else this.#spend(end.type === "lost" ? end.code : "RUN_LEFT");
    this.#endSlice(end);
  }

  #spend(code: string): void {
    this.work.cutDelays();
    this.#beginnings.clear();
    this.#outbox.clear();
    this.work.abortFlights(code, "This worker no longer holds the run.", this.claimed.id);
  }
}
