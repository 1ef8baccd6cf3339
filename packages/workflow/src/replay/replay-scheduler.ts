/**
 * Runs a handler in steps. A step follows whenever the handler waits for durable calls: the step delivers a recorded
 * value, or begins new calls, or sends a report, or waits, in this order of preference.
 *
 *  P1  Recorded values are delivered one at a time, in order of `seq`. Between two of them only microtasks run.
 *  P2  A value is delivered only after the handler has made again all calls of this attempt that it had made before the
 *      value was recorded.
 *  P3  New calls begin only when every available value is delivered and no recorded call is expected.
 *  P4  No effect begins before everything the handler has received is recorded.
 *  P5  If several calls are open, a value is delivered after it is recorded. If only one call is open, its value is
 *      delivered before it is recorded; its place in the order is the `seq` that it gets later.
 *  P6  At most one report is in flight.
 *
 *   running <──> suspended    The run waits at the server. If its handler continues, the worker claims it again.
 *      │             │
 *      └──────> ended <       The run has left this worker: durable calls have no effect any more.
 */

import type { AikiError } from "@aikirun/lib";
import type { Address, ClaimedRun, Entry, Failure, Next, ReportedStall, Value } from "@aikirun/lib/protocol";
import type { OpenCall, Unnumbered } from "./call.ts";
import { CallIdentifier } from "./call-identifier.ts";
import { CallWait } from "./call-wait.ts";
import type { ActivationEnd, Host, SchedulerOptions } from "./contract.ts";
import { Deliveries } from "./deliveries.ts";
import { Drain, otherCountStall } from "./drain.ts";
import { unhandled } from "./errors.ts";
import type { Journal } from "./journal.ts";
import { Leaving, type LeavingReason } from "./leaving.ts";
import { NewCalls } from "./new-calls.ts";
import { OngoingWork } from "./ongoing-work.ts";
import { OnlyCallValue } from "./only-call-value.ts";
import { Outbox, type Posted } from "./outbox.ts";
import { type CodeOwner, runAt, runOutside } from "./points.ts";
import type { Conclusion } from "./report-answer.ts";
import { Reports } from "./reports.ts";

/** How often to check again whether effects may begin. Milliseconds. */
const recheckMs = 250;
/** How long a replay runs before it yields the event loop to other work. Milliseconds. */
const yieldMs = 20;

export class ReplayScheduler implements CodeOwner {
  readonly host: Host;
  readonly journal: Journal;
  readonly deliveries: Deliveries;
  readonly outbox: Outbox;
  readonly newCalls: NewCalls = new NewCalls();
  readonly claimed: ClaimedRun;
  readonly work: OngoingWork;
  readonly identifier: CallIdentifier;
  readonly callWait: CallWait;
  /** The fence of the newest claim. */
  fence: number;
  /** True while the handler only repeats recorded calls. */
  replaying: boolean;
  /** `relaxed` is called when recorded values no longer wait for expected calls; `drained` after each delivery. */
  on: { readonly relaxed: () => void; readonly drained: () => void } | null = null;
  readonly #options: SchedulerOptions;
  #cancelRecheck: (() => void) | null = null;
  readonly #reports: Reports;
  #state: "running" | "suspended" | "ended" = "running";
  /** Why and how the run leaves this worker after the results of its running work are recorded. */
  readonly #leaving: Leaving = new Leaving();
  readonly #onlyCall: OnlyCallValue;
  /** The expected call that the last report named. */
  #reportedExpecting: Address | null = null;
  #isScheduled = false;
  #isListening = false;
  #isReclaiming = false;
  /** The number of open calls when the run was suspended. A larger number later shows that the handler continued. */
  #openWhenSuspended = 0;
  /** When this replay last yielded the event loop. Monotonic milliseconds. */
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
    this.identifier = new CallIdentifier(this);
    this.callWait = new CallWait(host, options.build, claimed.build, options.idleMs);
    this.replaying = journal.expected.size > 0;
    const { deliveries, outbox } = this;
    this.#onlyCall = new OnlyCallValue(journal, deliveries, outbox);
    const outcomes = {
      continued: (pause: boolean) => this.#continue(pause),
      ended: (end: ActivationEnd) => this.#end(end),
      failed: (error: Failure) => this.#failForGood(error),
    };
    this.#reports = new Reports({ host, claimed, journal, deliveries, outbox, build: options.build, outcomes });
  }

  get position(): { readonly seen: number; readonly after: number } {
    return this.#reports.position;
  }

  /** Whether durable calls still have an effect. */
  get isOpen(): boolean {
    return this.#state !== "ended" && this.#leaving.conclusion === null;
  }

  /** Resolves when the run is suspended or has left this worker. */
  activate(): Promise<ActivationEnd> {
    return new Promise((resolve) => {
      this.#activationEnded = resolve;
      this.touch();
    });
  }

  resume(claimed: ClaimedRun): Promise<ActivationEnd> {
    // The claim may arrive before the answer to the report that suspended the run.
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

  release(reason: LeavingReason): void {
    if (this.#state !== "running") return;
    this.#leaving.release(reason);
    for (const then of this.work.cancelDelays()) then();
    this.#schedule();
  }

  abandon(code: AikiError["code"]): void {
    this.#end({ type: "lost", code });
  }

  reject(reason: unknown): void {
    const fields = { runId: this.claimed.id, error: reason };
    if (this.isOpen) this.fail(unhandled(reason));
    else this.host.logger.error("a promise of a handler was rejected after its run had left this worker", fields);
  }

  /** Calls the handler. The durable calls that it makes in the microtasks that follow are prompt. */
  startHandler(start: () => void): void {
    if (!this.isOpen) return;
    this.#follow({ delivered: "start", isChanged: false }, () => runAt({ ...this.identifier.root }, start));
  }

  /** Records the fact with the next report. */
  post(posted: Posted): void {
    if (this.#state === "ended") return;
    this.outbox.post(posted);
    this.touch();
  }

  /** Records the value of a call. The only open call receives its value before it is recorded (P5). */
  settle(call: OpenCall, entry: Posted["entry"], value: Value): void {
    if (this.#state !== "running" || !this.isOpen || !call.open) return;
    const recorded = (seq: number): void => this.deliveries.later(call, seq, value);
    const posted: Posted = { entry, call, seen: false, recorded };
    this.journal.addSize(value);
    this.#onlyCall.offer(posted, value);
    this.post(posted);
  }

  /** Calls `then` after a delay, in milliseconds. The run keeps its slot during the delay. */
  enqueueAfter(delayMs: number, then: () => void): void {
    if (this.#state === "ended") return;
    if (this.#leaving.mayDelay) this.work.after(delayMs, then);
    else then();
  }

  /** Keeps the slot until `work` is done. `work` must never reject. */
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

  /** Stalls the run: it cannot continue until a person removes the cause. */
  stall(stall: ReportedStall): void {
    if (!this.#leaving.stallFor(stall)) return;
    for (const then of this.work.cancelDelays()) then();
    this.touch();
  }

  /** Call after every durable call and every new fact: the replay may wait for it. */
  touch(): void {
    this.callWait.stop();
    this.#schedule();
  }

  #schedule(): void {
    // A step follows every drain, so none needs to be scheduled during a drain.
    if (this.#isScheduled || this.#state === "ended" || this.identifier.drain !== null) return;
    this.#isScheduled = true;
    this.host.env.soon(() => {
      this.#isScheduled = false;
      this.#steppingSince = this.host.env.elapsed();
      if (this.identifier.drain === null) this.#step(true);
    });
  }

  /** Runs outside of the handler's async context, so that new work is not attributed to the handler. */
  #step(isClean: boolean): void {
    runOutside(() => this.#advance(isClean));
  }

  /** `isClean`: no microtask is pending, so every microtask after a delivery was caused by that delivery (P1). */
  #advance(isClean: boolean): void {
    if (this.#state === "suspended") this.#reclaimIfActive();
    if (this.#state !== "running" || this.#reports.isHandingOver) return;
    if (!this.#leaving.isDecided) {
      if (!isClean && (this.deliveries.hasReady || this.#onlyCall.isOffered)) {
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
    const only = this.#onlyCall.take();
    if (only !== null) this.#deliver(only.call, only.value, only.place);
    return only !== null;
  }

  #deliver(call: OpenCall, value: Value, after: number | Unnumbered): void {
    this.identifier.after = after;
    const { firstIdentity: delivered, made } = call;
    this.#follow({ delivered, isChanged: made.point.isChanged }, () => this.deliveries.deliver(call, value));
    if (this.journal.expected.size === 0 && !this.deliveries.hasReady) this.replaying = false;
  }

  /** Calls `act`, which lets the handler continue. The next step follows when its microtasks have run. */
  #follow({ delivered, isChanged }: Pick<Drain, "delivered" | "isChanged">, act: () => void): void {
    this.callWait.stop();
    this.identifier.past.push(this.identifier.delivered);
    this.identifier.delivered = delivered;
    this.identifier.drain = new Drain(delivered, isChanged);
    act();
    this.host.env.drained(() => this.#drained());
  }

  #drained(): void {
    const miscounted = this.identifier.drain?.withOtherCount() ?? null;
    this.identifier.drain = null;
    this.on?.drained();
    if (miscounted !== null && !this.callWait.isOfOtherCode(miscounted)) this.stall(otherCountStall(miscounted));
    if (this.host.env.elapsed() - this.#steppingSince > yieldMs) this.#schedule();
    else this.#step(true);
  }

  /** P3, P4. */
  #beginNewCalls(): void {
    this.newCalls.removeClosed();
    if (this.newCalls.size === 0 || this.journal.expected.size > 0) return; // mutant: new-calls-begin
    const isRecorded = !this.outbox.seen && !this.#reports.isSeenInFlight;
    const start = !this.#leaving.isReleased;
    const effect = start && isRecorded && this.host.mayBegin(); // mutant: effect-begins
    this.replaying = false;
    const mayReuse = (seq: number): boolean => this.callWait.reusesFreely || !this.journal.reusable.hasBefore(seq);
    for (const { call, begin } of this.newCalls.take({ wait: true, start, effect }, mayReuse)) {
      call.address ??= this.journal.newAddress(call.made.content);
      begin();
    }
    // While a report is due or in flight, the handler lacks its values, so the calls that are awaited cannot be made.
    const isReporting = this.#reports.next !== null || this.outbox.urgent || this.outbox.seen;
    this.callWait.holdReused(start && this.newCalls.hasReused && !isReporting, () => this.#schedule());
  }

  /** P6: what to report now; null when there is nothing to report. */
  #next(): Next | null {
    const { isBusy } = this.work;
    const canMove = isBusy || this.newCalls.size > 0 || this.outbox.hasContinuation || this.deliveries.hasReady;
    const isWaiting = !canMove && this.deliveries.open > 0 && this.deliveries.mayReceiveValue;
    const leaving = this.#leaving.next({ isBusy, isRecording: this.outbox.hasContinuation, isWaiting });
    if (leaving !== null) return leaving;
    if (isWaiting && !this.#leaving.isDecided) {
      return { type: "suspend", children: this.deliveries.children, mayBeBusyMs: this.#options.idleMs };
    }
    const isUrgent = this.outbox.urgent || (this.outbox.seen && this.newCalls.size > 0);
    return isUrgent || this.callWait.expecting !== this.#reportedExpecting ? { type: "continue" } : null;
  }

  /** Starts the timer for what the replay waits for: an expected call, a call that may not begin, or the handler. */
  #wait(): void {
    this.#listen(this.deliveries.awaitsEntries);
    const expected = this.journal.expected.first();
    if (this.#leaving.isDecided || this.work.isBusy) return;
    const isHeld = this.newCalls.size > 0 || this.deliveries.hasReady || this.deliveries.awaited !== undefined;
    if (expected !== undefined && isHeld) {
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
    const isNew = this.newCalls.calls.map(({ address, made }) => address ?? this.journal.nextAddress(made.content));
    const [call = this.deliveries.awaited, ...alsoNew] = new Set(isNew);
    const others = { unclaimed: this.journal.expected.addresses(), ...(alsoNew.length > 0 && { alsoNew }) };
    if (call !== undefined) this.stall({ reason: "diverged", call, ...others });
  }

  #listen(open: boolean): void {
    if (this.#isListening === open) return;
    this.#isListening = open;
    this.host.listening(open);
  }

  /** If the suspended handler has continued by itself, requests that the worker claims the run again. */
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

  #continue(pause: boolean): void {
    if (pause) this.release("paused");
    if (!this.#isScheduled && this.identifier.drain === null) this.#step(false);
  }

  #failForGood(error: Failure): void {
    this.#leaving.fail({ status: "failed", error, retryInMs: null });
    this.#step(false);
  }

  #end(end: ActivationEnd): void {
    if (this.#state === "ended") return;
    this.#state = end.type === "suspended" ? "suspended" : "ended";
    this.callWait.stop();
    this.callWait.releaseReused();
    this.#cancelRecheck?.();
    this.#cancelRecheck = null;
    this.#listen(false);
    this.#leaving.endActivation();
    this.#reports.stop();
    // The handler may have made calls while the report was in flight.
    if (end.type === "suspended") this.#schedule();
    else {
      this.newCalls.clear();
      this.outbox.clear();
      this.work.end(end.type === "lost" ? end.code : "RUN_LEFT", this.claimed.id);
    }
    this.#activationEnded(end);
  }
}
