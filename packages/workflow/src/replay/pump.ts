/**
 * What moves an execution: it turns whenever nothing in the handler can go further by itself.
 *
 *  P1  Recorded values are delivered one at a time, in order of `seq`. Between two of them only microtasks run.
 *  P2  A value is delivered only after everything of this attempt that was asked before it was recorded has been asked
 *      again.
 *  P3  Only when all that was asked for is delivered, and no recorded call is expected, does anything new begin.
 *  P4  No effect begins before everything the handler has received is recorded.
 *  P5  While several calls are open, values are delivered once recorded. A lone call's counts under the `seq` it gets.
 *  P6  One report is in flight at most.
 */

import type { AikiError } from "@aikirun/lib";
import type { Address, ClaimedRun, Entry, Failure, Next, ReportedStall, Value } from "@aikirun/lib/protocol";
import type { Conclusion } from "./answer.ts";
import { Beginnings } from "./beginnings.ts";
import type { OpenCall, Unnumbered } from "./call.ts";
import { Caller } from "./caller.ts";
import type { ActivationEnd, Host, PumpOptions } from "./contract.ts";
import { Deliveries } from "./deliveries.ts";
import { Drain, shiftedStall } from "./drain.ts";
import { unhandled } from "./errors.ts";
import type { Journal } from "./journal.ts";
import { LoneValue } from "./lone.ts";
import { Outbox, type Posted } from "./outbox.ts";
import { Patience } from "./patience.ts";
import { type CodeOwner, runAt, runOutside } from "./points.ts";
import { Reports } from "./reports.ts";
import { Work } from "./work.ts";

/** When to ask again whether effects may begin. */
const recheckMs = 250;
/** A long replay lets others have the event loop after so long. Milliseconds. */
const yieldMs = 20;

export class Pump implements CodeOwner {
  readonly host: Host;
  readonly journal: Journal;
  readonly deliveries: Deliveries;
  readonly outbox: Outbox = new Outbox();
  readonly beginnings: Beginnings = new Beginnings();
  readonly claimed: ClaimedRun;
  readonly work: Work;
  readonly caller: Caller;
  readonly patience: Patience;
  /** Of the newest claim. */
  fence: number;
  /** True while the handler only repeats what it did before. */
  replaying: boolean;
  /** Called when recorded values no longer wait for the calls that are expected; and after each delivery. */
  on: { readonly relaxed: () => void; readonly drained: () => void } | null = null;
  readonly #options: PumpOptions;
  #cancelRecheck: (() => void) | null = null;
  readonly #reports: Reports;
  #mode: "running" | "parked" | "spent" = "running";
  #conclusion: Conclusion | null = null;
  /** Nothing is delivered and nothing begins any more: the run waits for people once its work in flight is recorded. */
  #stall: ReportedStall | null = null;
  readonly #lone: LoneValue;
  #draining: "shutdown" | "paused" | null = null;
  /** What the last report said of the call that the replay waits for. */
  #reportedExpecting: Address | null = null;
  #isScheduled = false;
  #isListening = false;
  #isReclaiming = false;
  #openWhenParked = 0;
  /** When the event loop was last free for others, in monotonic milliseconds. */
  #turningSince = 0;
  #endSlice: (end: ActivationEnd) => void = () => {};

  constructor(claimed: ClaimedRun, journal: Journal, host: Host, options: PumpOptions) {
    this.host = host;
    this.claimed = claimed;
    this.journal = journal;
    this.deliveries = new Deliveries(journal);
    this.fence = claimed.fence;
    this.#options = options;
    this.work = new Work(host.env);
    this.caller = new Caller(this);
    this.patience = new Patience(host, options.build, claimed.build, options.idleMs);
    this.replaying = journal.expected.size > 0;
    const { deliveries, outbox } = this;
    this.#lone = new LoneValue(journal, deliveries, outbox);
    const outcomes = {
      goOn: (pause: boolean) => this.#goOn(pause),
      ended: (end: ActivationEnd) => this.#end(end),
      failed: (error: Failure) => this.#failForGood(error),
    };
    this.#reports = new Reports({ host, claimed, journal, deliveries, outbox, build: options.build, outcomes });
  }

  get position(): { readonly seen: number; readonly after: number } {
    return this.#reports.position;
  }

  /** Whether durable calls still come to anything. */
  get isOpen(): boolean {
    return this.#mode !== "spent" && this.#conclusion === null;
  }

  /** Runs until the run leaves this worker's hands. */
  slice(): Promise<ActivationEnd> {
    return new Promise((resolve) => {
      this.#endSlice = resolve;
      this.touch();
    });
  }

  resume(claimed: ClaimedRun): Promise<ActivationEnd> {
    // A claim can overtake the answer that the run was parked.
    if (this.#reports.isOnlySuspending) this.#end({ type: "suspended" });
    if (this.#mode !== "parked" || claimed.attempt !== this.claimed.attempt) {
      return Promise.resolve({ type: "lost", code: "NOT_RESUMABLE" });
    }
    this.#mode = "running";
    this.#isReclaiming = false;
    this.fence = claimed.fence;
    this.#reports.resume(claimed);
    return this.slice();
  }

  receive(entries: Entry[], inbox: number): void {
    if (this.#mode === "running" && this.#reports.receive(entries, inbox)) this.#schedule();
  }

  drain(reason: "shutdown" | "paused"): void {
    if (this.#mode !== "running") return;
    this.#draining ??= reason;
    for (const then of this.work.cutDelays()) then();
    this.#schedule();
  }

  abandon(code: AikiError["code"]): void {
    this.#end({ type: "lost", code });
  }

  reject(reason: unknown): void {
    const fields = { runId: this.claimed.id, error: reason };
    if (this.isOpen) this.fail(unhandled(reason));
    else this.host.logger.error("a promise of a handler whose run has left this worker was rejected", fields);
  }

  /** Calls the handler: what it does in the microtasks that follow is prompt. */
  enter(start: () => void): void {
    if (!this.isOpen) return;
    this.#follow({ delivered: "start", isChanged: false }, () => runAt({ ...this.caller.root }, start));
  }

  /** Records with the next report. */
  post(posted: Posted): void {
    if (this.#mode === "spent") return;
    this.outbox.post(posted);
    this.touch();
  }

  /** A call has come to its value. A lone call is given it before it is recorded. */
  settle(call: OpenCall, entry: Posted["entry"], value: Value): void {
    if (this.#mode !== "running" || this.#conclusion !== null || !call.open) return;
    const recorded = (seq: number): void => this.deliveries.later(call, seq, value);
    const posted: Posted = { entry, call, seen: false, recorded };
    this.journal.count(value);
    this.#lone.offer(posted, value);
    this.post(posted);
  }

  /** Goes on after a delay, in milliseconds, which holds the slot. */
  enqueueAfter(delayMs: number, then: () => void): void {
    if (this.#mode === "spent") return;
    if (this.#draining === null && this.#stall === null) this.work.after(delayMs, then);
    else then();
  }

  /** Holds the slot until `work`, which never rejects, is done. */
  async hold(work: () => Promise<void>): Promise<void> {
    await this.work.hold(work);
    this.touch();
  }

  /** The handler returned. */
  conclude(conclusion: Conclusion): void {
    // What the handler comes to after a call was refused does not count.
    if (this.#stall?.reason === "ambiguous_call") return;
    this.#conclusion ??= conclusion;
    this.touch();
  }

  /** The handler threw. */
  fail(thrown: unknown): void {
    this.conclude(this.#options.failed(thrown));
  }

  /** The run cannot go on before people have mended the cause. */
  stall(stall: ReportedStall): void {
    if (this.#stall !== null || this.#conclusion !== null) return;
    this.#stall = stall;
    for (const then of this.work.cutDelays()) then();
    this.touch();
  }

  /** Durable activity: what the replay waited for may have come. */
  touch(): void {
    this.patience.stop();
    this.#schedule();
  }

  #schedule(): void {
    // A turn follows every drain anyway.
    if (this.#isScheduled || this.#mode === "spent" || this.caller.drain !== null) return;
    this.#isScheduled = true;
    this.host.env.soon(() => {
      this.#isScheduled = false;
      this.#turningSince = this.host.env.elapsed();
      if (this.caller.drain === null) this.#turn(true);
    });
  }

  /** Outside of the handler's context: what begins here is not taken for work of the handler. */
  #turn(isClean: boolean): void {
    runOutside(() => this.#move(isClean));
  }

  /** `isClean`: no microtask is pending, so that what follows a delivery is what the delivery caused. */
  #move(isClean: boolean): void {
    if (this.#mode === "parked" && !this.#isReclaiming && this.#isStirring()) {
      this.#isReclaiming = true;
      this.host.reclaim();
    }
    if (this.#mode !== "running") return;
    // While the run is being handed over, nothing may begin here.
    const reported = this.#reports.next;
    if (reported !== null && reported.type !== "continue") return;
    if (this.#conclusion === null && this.#stall === null) {
      if (!isClean && (this.deliveries.hasReady || this.#lone.isComing)) {
        this.#schedule();
        return;
      }
      if (this.#deliverNext()) return;
      this.#begin();
    }
    if (this.#reports.next !== null) return;
    const next = this.#next();
    if (next !== null) this.#report(next);
    else this.#rest();
  }

  /** P1, P2, P5. */
  #deliverNext(): boolean {
    const recorded = this.deliveries.peek();
    if (recorded !== undefined) {
      if (!this.patience.isRelaxed && this.journal.expected.hasBefore(recorded.seq)) return false; // mutant: ask-order
      this.#deliver(recorded.call, recorded.value, recorded.seq);
      return true;
    }
    const lone = this.#lone.take();
    if (lone !== null) this.#deliver(lone.call, lone.value, lone.place);
    return lone !== null;
  }

  #deliver(call: OpenCall, value: Value, after: number | Unnumbered): void {
    this.caller.after = after;
    const { lineage, made } = call;
    this.#follow({ delivered: lineage, isChanged: made.point.isChanged }, () => this.deliveries.deliver(call, value));
    if (this.journal.expected.size === 0 && !this.deliveries.hasReady) this.replaying = false;
  }

  /** Does something that sets the handler going, and turns when the handler can go no further by itself. */
  #follow({ delivered, isChanged }: Pick<Drain, "delivered" | "isChanged">, act: () => void): void {
    this.patience.stop();
    this.caller.past.push(this.caller.delivered);
    this.caller.delivered = delivered;
    this.caller.drain = new Drain(delivered, isChanged);
    act();
    this.host.env.drained(() => this.#drained());
  }

  #drained(): void {
    const shifted = this.caller.drain?.shifted() ?? null;
    this.caller.drain = null;
    this.on?.drained();
    if (shifted !== null && !this.patience.isOther(shifted)) this.stall(shiftedStall(shifted));
    if (this.host.env.elapsed() - this.#turningSince > yieldMs) this.#schedule();
    else this.#turn(true);
  }

  /** P3, P4. */
  #begin(): void {
    this.beginnings.forgetAnswered();
    if (this.beginnings.size === 0 || this.journal.expected.size > 0) return; // mutant: new-calls-begin
    const isRecorded = !this.outbox.seen && !this.#reports.isSeenInFlight;
    const start = this.#draining === null;
    const effect = start && isRecorded && this.host.mayBegin(); // mutant: effect-begins
    this.replaying = false;
    const mayRecall = (seq: number): boolean => this.patience.recallsFreely || !this.journal.recallable.hasBefore(seq);
    for (const { call, begin } of this.beginnings.take({ wait: true, start, effect }, mayRecall)) {
      call.address ??= this.journal.newAddress(call.made.content);
      begin();
    }
    if (start && this.beginnings.hasRecalled) this.patience.hold(() => this.#schedule());
    else this.patience.release();
  }

  /** What to report now; null when there is nothing to say. */
  #next(): Next | null {
    if (this.#conclusion !== null) return { type: "finish", outcome: this.#conclusion };
    const { isBusy } = this.work;
    if (this.#stall !== null && !isBusy) return { type: "stall", stall: this.#stall };
    const canMove = isBusy || this.beginnings.size > 0 || this.outbox.moves || this.deliveries.hasReady;
    const isWaiting = !canMove && this.deliveries.open > 0 && this.#stall === null;
    // A value that comes with the next answer may let the handler finish.
    const isDrained = !isBusy && !this.outbox.moves && !(isWaiting && this.#draining === "shutdown");
    if (this.#draining !== null && isDrained) return { type: "release", reason: this.#draining };
    if (isWaiting) return { type: "suspend", children: this.deliveries.children, mayBeBusyMs: this.#options.idleMs };
    const isUrgent = this.outbox.urgent || (this.outbox.seen && this.beginnings.size > 0);
    return isUrgent || this.patience.expecting !== this.#reportedExpecting ? { type: "continue" } : null;
  }

  /** Nothing to say: the handler awaits tasks, or something plain, or stands before what may not begin. */
  #rest(): void {
    this.#listen(this.deliveries.awaitsNews);
    const expected = this.journal.expected.first();
    if (this.#stall !== null || this.work.isBusy) return;
    if (expected !== undefined && (this.beginnings.size > 0 || this.deliveries.hasReady)) {
      this.patience.wait(expected, {
        noticed: () => this.#schedule(),
        relaxed: () => {
          this.on?.relaxed();
          this.#schedule();
        },
        diverged: () => this.#diverge(),
      });
    } else if (this.beginnings.size > 0) {
      this.#cancelRecheck ??= this.host.env.after(recheckMs, () => {
        this.#cancelRecheck = null;
        this.#schedule();
      });
    } else {
      this.patience.idle(() => this.stall({ reason: "idle", idleMs: this.#options.idleMs }));
    }
  }

  #diverge(): void {
    const first = this.beginnings.first;
    if (first === undefined) return;
    const call = first.address ?? this.journal.nextAddress(first.made.content);
    this.stall({ reason: "diverged", call, unclaimed: this.journal.expected.addresses() });
  }

  #listen(open: boolean): void {
    if (this.#isListening === open) return;
    this.#isListening = open;
    this.host.listening(open);
  }

  #isStirring(): boolean {
    const isOver = this.#conclusion !== null || this.#stall !== null;
    return isOver || !this.outbox.empty || this.beginnings.size > 0 || this.deliveries.open > this.#openWhenParked;
  }

  #report(next: Next): void {
    if (next.type === "finish") {
      this.work.abortFlights("RUN_ENDED", "The run ended without waiting for this task.", this.claimed.id);
      this.outbox.dropWaits();
    }
    if (next.type === "stall") this.outbox.dropWaits();
    if (next.type === "suspend") this.#openWhenParked = this.deliveries.open;
    this.#reportedExpecting = this.patience.expecting;
    this.#reports.send(next, this.#reportedExpecting);
  }

  #goOn(pause: boolean): void {
    if (pause) this.drain("paused");
    if (!this.#isScheduled && this.caller.drain === null) this.#turn(false);
  }

  #failForGood(error: Failure): void {
    this.#conclusion = { status: "failed", error, retryInMs: null };
    this.#stall = null;
    this.#turn(false);
  }

  #end(end: ActivationEnd): void {
    if (this.#mode === "spent") return;
    this.#mode = end.type === "suspended" ? "parked" : "spent";
    this.patience.stop();
    this.patience.release();
    this.#cancelRecheck?.();
    this.#cancelRecheck = null;
    this.#listen(false);
    this.#draining = null;
    this.#reports.stop();
    // What the handler did while the report was under way is looked at once more.
    if (end.type === "suspended") this.#schedule();
    else {
      this.beginnings.clear();
      this.outbox.clear();
      this.work.end(end.type === "lost" ? end.code : "RUN_LEFT", this.claimed.id);
    }
    this.#endSlice(end);
  }
}
