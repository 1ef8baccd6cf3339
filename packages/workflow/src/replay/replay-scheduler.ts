/**
 * Moves a handler: whenever nothing in it can go further by itself, a step delivers a recorded value, else begins new
 * calls, else reports, else waits.
 *
 *  P1  Recorded values are delivered one at a time, in order of `seq`. Between two of them only microtasks run.
 *  P2  A value is delivered only after everything of this attempt that was asked before it was recorded has been asked
 *      again.
 *  P3  New calls begin only when all that was asked for is delivered, and no recorded call is expected.
 *  P4  No effect begins before everything the handler has received is recorded.
 *  P5  While several calls are open, values are delivered once recorded. A lone call's counts under the `seq` it gets.
 *  P6  One report is in flight at most.
 *
 *   running <──> suspended    The run waits at the server. A handler that goes on by itself asks for its run.
 *      │             │
 *      └──────> ended <       The run has left this worker for good: durable calls come to nothing.
 */

import type { AikiError } from "@aikirun/lib";
import type { Address, ClaimedRun, Entry, Failure, Next, ReportedStall, Value } from "@aikirun/lib/protocol";
import type { OpenCall, Unnumbered } from "./call.ts";
import { CallWait } from "./call-wait.ts";
import { Caller } from "./caller.ts";
import type { ActivationEnd, Host, SchedulerOptions } from "./contract.ts";
import { Deliveries } from "./deliveries.ts";
import { Drain, shiftedStall } from "./drain.ts";
import { unhandled } from "./errors.ts";
import type { Journal } from "./journal.ts";
import { Leaving, type ReleaseReason } from "./leaving.ts";
import { LoneValue } from "./lone.ts";
import { NewCalls } from "./new-calls.ts";
import { OngoingWork } from "./ongoing-work.ts";
import { Outbox, type Posted } from "./outbox.ts";
import { type CodeOwner, runAt, runOutside } from "./points.ts";
import type { Conclusion } from "./report-answer.ts";
import { Reports } from "./reports.ts";

/** When to ask again whether effects may begin. */
const recheckMs = 250;
/** A long replay lets others have the event loop after so long. Milliseconds. */
const yieldMs = 20;

export class ReplayScheduler implements CodeOwner {
  readonly host: Host;
  readonly journal: Journal;
  readonly deliveries: Deliveries;
  readonly outbox: Outbox;
  readonly newCalls: NewCalls = new NewCalls();
  readonly claimed: ClaimedRun;
  readonly work: OngoingWork;
  readonly caller: Caller;
  readonly callWait: CallWait;
  /** Of the newest claim. */
  fence: number;
  /** True while the handler only repeats what it did before. */
  replaying: boolean;
  /** Called when recorded values no longer wait for the calls that are expected; and after each delivery. */
  on: { readonly relaxed: () => void; readonly drained: () => void } | null = null;
  readonly #options: SchedulerOptions;
  #cancelRecheck: (() => void) | null = null;
  readonly #reports: Reports;
  #state: "running" | "suspended" | "ended" = "running";
  /** How the run is to leave this worker, once its work in flight is recorded. */
  readonly #leaving: Leaving = new Leaving();
  readonly #lone: LoneValue;
  /** What the last report said of the call that the replay waits for. */
  #reportedExpecting: Address | null = null;
  #isScheduled = false;
  #isListening = false;
  #isReclaiming = false;
  #openWhenSuspended = 0;
  /** When the event loop was last free for others, in monotonic milliseconds. */
  #steppingSince = 0;
  #activationEnded: (end: ActivationEnd) => void = () => {};

  constructor(claimed: ClaimedRun, journal: Journal, host: Host, options: SchedulerOptions) {
    this.host = host;
    this.claimed = claimed;
    this.journal = journal;
    this.deliveries = new Deliveries(journal);
    this.outbox = new Outbox(claimed.attempt);
    this.fence = claimed.fence;
    this.#options = options;
    this.work = new OngoingWork(host.env);
    this.caller = new Caller(this);
    this.callWait = new CallWait(host, options.build, claimed.build, options.idleMs);
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
    return this.#state !== "ended" && this.#leaving.conclusion === null;
  }

  /** Runs until the run is suspended, or leaves this worker. */
  activate(): Promise<ActivationEnd> {
    return new Promise((resolve) => {
      this.#activationEnded = resolve;
      this.touch();
    });
  }

  resume(claimed: ClaimedRun): Promise<ActivationEnd> {
    // A claim can overtake the answer that the run was suspended.
    if (this.#reports.isOnlySuspending) this.#end({ type: "suspended" });
    if (this.#state !== "suspended" || claimed.attempt !== this.claimed.attempt) {
      return Promise.resolve({ type: "lost", code: "NOT_RESUMABLE" });
    }
    this.#state = "running";
    this.#isReclaiming = false;
    this.fence = claimed.fence;
    this.#reports.resume(claimed);
    return this.activate();
  }

  receive(entries: Entry[], inbox: number): void {
    if (this.#state === "running" && this.#reports.receive(entries, inbox)) this.#schedule();
  }

  release(reason: ReleaseReason): void {
    if (this.#state !== "running") return;
    this.#leaving.release(reason);
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
    if (this.#state === "ended") return;
    this.outbox.post(posted);
    this.touch();
  }

  /** A call has come to its value. A lone call is given it before it is recorded. */
  settle(call: OpenCall, entry: Posted["entry"], value: Value): void {
    if (this.#state !== "running" || !this.isOpen || !call.open) return;
    const recorded = (seq: number): void => this.deliveries.later(call, seq, value);
    const posted: Posted = { entry, call, seen: false, recorded };
    this.journal.count(value);
    this.#lone.offer(posted, value);
    this.post(posted);
  }

  /** Goes on after a delay, in milliseconds, which holds the slot. */
  enqueueAfter(delayMs: number, then: () => void): void {
    if (this.#state === "ended") return;
    if (this.#leaving.mayDelay) this.work.after(delayMs, then);
    else then();
  }

  /** Holds the slot until `work`, which never rejects, is done. */
  async hold(work: () => Promise<void>): Promise<void> {
    await this.work.hold(work);
    this.touch();
  }

  /** The handler returned. */
  conclude(conclusion: Conclusion): void {
    if (this.#leaving.conclude(conclusion)) this.touch();
  }

  /** The handler threw. */
  fail(thrown: unknown): void {
    this.conclude(this.#options.failed(thrown));
  }

  /** The run cannot go on before people have mended the cause. */
  stall(stall: ReportedStall): void {
    if (!this.#leaving.stallFor(stall)) return;
    for (const then of this.work.cutDelays()) then();
    this.touch();
  }

  /** Durable activity: what the replay waited for may have come. */
  touch(): void {
    this.callWait.stop();
    this.#schedule();
  }

  #schedule(): void {
    // A step follows every drain anyway.
    if (this.#isScheduled || this.#state === "ended" || this.caller.drain !== null) return;
    this.#isScheduled = true;
    this.host.env.soon(() => {
      this.#isScheduled = false;
      this.#steppingSince = this.host.env.elapsed();
      if (this.caller.drain === null) this.#step(true);
    });
  }

  /** Outside of the handler's context: what begins here is not taken for work of the handler. */
  #step(isClean: boolean): void {
    runOutside(() => this.#advance(isClean));
  }

  /** `isClean`: no microtask is pending, so that what follows a delivery is what the delivery caused (P1). */
  #advance(isClean: boolean): void {
    if (this.#state === "suspended") this.#reclaimIfActive();
    if (this.#state !== "running" || this.#reports.isHandingOver) return;
    if (!this.#leaving.isDecided) {
      if (!isClean && (this.deliveries.hasReady || this.#lone.isComing)) {
        this.#schedule();
        return;
      }
      if (this.#deliverNext()) return;
      this.#beginNewCalls();
    }
    if (this.#reports.next !== null) return;
    const next = this.#next();
    if (next !== null) this.#report(next);
    else this.#wait();
  }

  /** P1, P2, P5. */
  #deliverNext(): boolean {
    const recorded = this.deliveries.peek();
    if (recorded !== undefined) {
      if (!this.callWait.isRelaxed && this.journal.expected.hasBefore(recorded.seq)) return false; // mutant: ask-order
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

  /** Does something that sets the handler going; the next step follows when it can go no further by itself. */
  #follow({ delivered, isChanged }: Pick<Drain, "delivered" | "isChanged">, act: () => void): void {
    this.callWait.stop();
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
    if (shifted !== null && !this.callWait.isOther(shifted)) this.stall(shiftedStall(shifted));
    if (this.host.env.elapsed() - this.#steppingSince > yieldMs) this.#schedule();
    else this.#step(true);
  }

  /** P3, P4. */
  #beginNewCalls(): void {
    this.newCalls.forgetAnswered();
    if (this.newCalls.size === 0 || this.journal.expected.size > 0) return; // mutant: new-calls-begin
    const isRecorded = !this.outbox.seen && !this.#reports.isSeenInFlight;
    const start = !this.#leaving.isReleased;
    const effect = start && isRecorded && this.host.mayBegin(); // mutant: effect-begins
    this.replaying = false;
    const mayRecall = (seq: number): boolean => this.callWait.recallsFreely || !this.journal.recallable.hasBefore(seq);
    for (const { call, begin } of this.newCalls.take({ wait: true, start, effect }, mayRecall)) {
      call.address ??= this.journal.newAddress(call.made.content);
      begin();
    }
    if (start && this.newCalls.hasRecalled) this.callWait.holdRecalled(() => this.#schedule());
    else this.callWait.releaseRecalled();
  }

  /** P6: what to report now; null when there is nothing to say. */
  #next(): Next | null {
    const { isBusy } = this.work;
    const canMove = isBusy || this.newCalls.size > 0 || this.outbox.moves || this.deliveries.hasReady;
    const isWaiting = !canMove && this.deliveries.open > 0;
    const leaving = this.#leaving.next({ isBusy, isRecording: this.outbox.moves, isWaiting });
    if (leaving !== null) return leaving;
    if (isWaiting && !this.#leaving.isDecided) {
      return { type: "suspend", children: this.deliveries.children, mayBeBusyMs: this.#options.idleMs };
    }
    const isUrgent = this.outbox.urgent || (this.outbox.seen && this.newCalls.size > 0);
    return isUrgent || this.callWait.expecting !== this.#reportedExpecting ? { type: "continue" } : null;
  }

  /** The handler awaits tasks, or something that is not durable, or its next call may not begin yet. */
  #wait(): void {
    this.#listen(this.deliveries.awaitsEntries);
    const expected = this.journal.expected.first();
    if (this.#leaving.isDecided || this.work.isBusy) return;
    if (expected !== undefined && (this.newCalls.size > 0 || this.deliveries.hasReady)) {
      this.callWait.begin(expected, {
        noticed: () => this.#schedule(),
        relaxed: () => {
          this.on?.relaxed();
          this.#schedule();
        },
        diverged: () => this.#diverge(),
      });
    } else if (this.newCalls.size > 0) {
      this.#cancelRecheck ??= this.host.env.after(recheckMs, () => {
        this.#cancelRecheck = null;
        this.#schedule();
      });
    } else {
      this.callWait.beginIdle(() => this.stall({ reason: "idle", idleMs: this.#options.idleMs }));
    }
  }

  #diverge(): void {
    const first = this.newCalls.first;
    if (first === undefined) return;
    const call = first.address ?? this.journal.nextAddress(first.made.content);
    this.stall({ reason: "diverged", call, unclaimed: this.journal.expected.addresses() });
  }

  #listen(open: boolean): void {
    if (this.#isListening === open) return;
    this.#isListening = open;
    this.host.listening(open);
  }

  /** Asks for the run of a suspended handler that went on by itself. */
  #reclaimIfActive(): void {
    const hasMoved = !this.outbox.empty || this.newCalls.size > 0 || this.deliveries.open > this.#openWhenSuspended;
    if (this.#isReclaiming || !(this.#leaving.isDecided || hasMoved)) return;
    this.#isReclaiming = true;
    this.host.reclaim();
  }

  #report(next: Next): void {
    if (next.type === "finish") {
      this.work.abortAll("RUN_ENDED", "The run ended without waiting for this task.", this.claimed.id);
      this.outbox.dropWaits();
    }
    if (next.type === "stall") this.outbox.dropWaits();
    if (next.type === "suspend") this.#openWhenSuspended = this.deliveries.open;
    this.#reportedExpecting = this.callWait.expecting;
    this.#reports.send(next, this.#reportedExpecting);
  }

  #goOn(pause: boolean): void {
    if (pause) this.release("paused");
    if (!this.#isScheduled && this.caller.drain === null) this.#step(false);
  }

  #failForGood(error: Failure): void {
    this.#leaving.fail({ status: "failed", error, retryInMs: null });
    this.#step(false);
  }

  #end(end: ActivationEnd): void {
    if (this.#state === "ended") return;
    this.#state = end.type === "suspended" ? "suspended" : "ended";
    this.callWait.stop();
    this.callWait.releaseRecalled();
    this.#cancelRecheck?.();
    this.#cancelRecheck = null;
    this.#listen(false);
    this.#leaving.endActivation();
    this.#reports.stop();
    // What the handler did while the report was under way is looked at once more.
    if (end.type === "suspended") this.#schedule();
    else {
      this.newCalls.clear();
      this.outbox.clear();
      this.work.end(end.type === "lost" ? end.code : "RUN_LEFT", this.claimed.id);
    }
    this.#activationEnded(end);
  }
}
