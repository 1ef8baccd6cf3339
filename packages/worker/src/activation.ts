/**
 * One claimed run, from its claim until it leaves this worker. Only the activation decides whether the worker holds it.
 *
 *   claim ──> preparing ──> running <──> handing over ──> ended
 *                 │            │              │
 *                 │            │              └──────> cached ──> ended
 *                 v            v              v
 *                lost <────────┴──────────────┘
 *
 *   preparing     The lease is confirmed where that is needed, and the journal is read. A run that this worker cannot
 *                 execute is released: ended.
 *   running       The handler runs, and its execution reports what it does.
 *   handing over  A report that ends the activation was sent. Only its answer says how the run continues. If the server
 *                 answers another request with a lost lease, the reason may be that the report has suspended the run.
 *   cached        The run is suspended. Its execution waits in memory until the activation of the next claim takes it.
 *   ended         The run was released, finished or stalled, or its execution was taken over or abandoned.
 *   lost          Another worker may hold the run: this worker reports nothing about it any more.
 */

import { retryWithBackoff } from "@aikirun/client/internal";
import { AikiError, type Env, type ErrorCode, type Logger } from "@aikirun/lib";
import type {
  Address,
  Api,
  ClaimedRun,
  Entry,
  Next,
  Report,
  ReportResult,
  RunId,
  TaskTry,
} from "@aikirun/lib/protocol";
import type {
  ActivationEnd,
  ExecutableVersion,
  Execution,
  Host,
  Registry,
  ReportDraft,
} from "@aikirun/workflow/internal";
import type { ActivationLog } from "./activation-log.ts";
import type { Cacheable, ExecutionCache } from "./execution-cache.ts";
import { type ExecutionOwner, HeldExecution } from "./held-execution.ts";
import { withJournal } from "./journal.ts";
import type { Instant, Lease, LeaseHolder, Leases } from "./leases.ts";
import type { WorkerMetrics } from "./metrics.ts";
import type { Quarantine, Stay } from "./quarantine.ts";
import { ReplayWait } from "./replay-wait.ts";
import type { Reporter } from "./reporter.ts";
import type { RunWatch, WatchedRun } from "./run-watch.ts";
import type { Slot, Slots } from "./slots.ts";

/** Shared by all activations of a worker. */
export interface ActivationContext {
  readonly api: Api;
  readonly env: Env;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly createExecution: (definition: ExecutableVersion, host: Host) => Execution;
  readonly leases: Leases;
  readonly slots: Slots;
  readonly quarantine: Quarantine;
  readonly cache: ExecutionCache<Activation>;
  readonly watch: RunWatch;
  readonly reporter: Reporter;
  readonly log: ActivationLog;
  readonly metrics: WorkerMetrics;
  /** Whether the worker releases its runs and starts nothing new. */
  readonly isStopping: boolean;
  /** Aborts when the worker ends. */
  readonly ended: AbortSignal;
  /** The run of this activation must be claimed again for its cached execution. */
  reclaim(activation: Activation): void;
  /** A report without an answer may have suspended the run of this activation for this worker. */
  reclaimLost(activation: Activation): void;
}

type ActivationState = "preparing" | "running" | "handing over" | "cached" | "ended" | "lost";

type ReleaseReason = Extract<Next, { type: "release" }>["reason"];

/** The longest pause between tries to read the journal. Milliseconds. */
const maxPauseMs = 1_000;

export class Activation implements LeaseHolder, WatchedRun, Cacheable, ExecutionOwner {
  readonly claimed: ClaimedRun;
  startedAt = 0;
  isListening = false;
  readonly #context: ActivationContext;
  readonly #lease: Lease;
  readonly #slot: Slot;
  readonly #replayWait: ReplayWait;
  readonly #stay: Stay | null;
  #state: ActivationState = "preparing";
  /** Why the run is lost; set when it is lost. */
  #lossCode: ErrorCode = "LEASE_LOST";
  #isPausing = false;
  /** Whether the suspended handler has continued by itself, so that its run must be claimed again. */
  #needsRun = false;
  #held: HeldExecution | null = null;
  #reports = 0;
  /** Whether the handler is still making the recorded calls again. */
  #isReplaying = false;
  #rejectReport: (error: AikiError) => void = () => {};
  #left: Promise<void> = Promise.resolve();

  constructor(context: ActivationContext, claimed: ClaimedRun, takenAt: Instant) {
    const { leases, slots, quarantine, log, env } = context;
    const isDormant = mayCrashWorker(claimed);
    this.claimed = claimed;
    this.#context = context;
    this.#lease = leases.hold({ runId: claimed.id, fence: claimed.fence, isDormant }, takenAt, this);
    this.#slot = slots.take();
    this.#replayWait = new ReplayWait(env, (call, since) => log.waiting(claimed, call, since));
    this.#stay = isDormant ? quarantine.enter() : null;
  }

  get runId(): RunId {
    return this.claimed.id;
  }

  get fence(): number {
    return this.claimed.fence;
  }

  get definition(): ExecutableVersion | null {
    return this.#held?.definition ?? null;
  }

  get position(): { readonly seen: number; readonly after: number } {
    const { inbox, journal } = this.claimed;
    return this.#held?.execution.position ?? { seen: inbox, after: journal.at(-1)?.seq ?? 0 };
  }

  get tries(): TaskTry[] {
    return this.#held?.execution.tries ?? [];
  }

  get size(): number {
    return this.#held?.execution.size ?? 0;
  }

  get mayBegin(): boolean {
    return !this.#context.isStopping && this.#state === "running" && this.#lease.isProven;
  }

  /** `before`: an activation of the same run that has not left yet. `onLeft` is called when this one leaves. */
  begin(before: Activation | undefined, onLeft: () => void): void {
    this.#left = this.#run(before)
      .catch((error: unknown) => this.#crashed(error))
      .then(() => this.#leave(onLeft));
  }

  /** Lets the handler start nothing new, records the results of running tasks and releases the run. */
  drain(): void {
    this.#held?.execution.release("shutdown");
  }

  pause(): void {
    this.#isPausing = true;
    this.#held?.execution.release("paused");
  }

  receive(entries: Entry[], inbox: number): void {
    this.#held?.execution.receive(entries, inbox);
  }

  lost(code: ErrorCode): void {
    if (this.#state !== "handing over") this.lose(code);
  }

  /** Abandons the run at once. */
  lose(code: ErrorCode): void {
    if (!this.#isHeld) return;
    this.#lease.end();
    this.#abandonRun(code);
  }

  /** Abandons the run and releases it. Resolves when the server has answered or the report was abandoned. */
  async abandonAndRelease(): Promise<void> {
    if (!this.#isHeld) return;
    this.#abandonRun("SHUTDOWN");
    await this.#release("shutdown");
  }

  abandon(code: ErrorCode): void {
    this.#state = "ended";
    this.#held?.execution.abandon(code);
  }

  report(draft: ReportDraft): Promise<ReportResult> {
    this.replayed();
    const sentAt = this.#context.env.now();
    return new Promise((resolve, reject) => {
      this.#rejectReport = reject;
      if (draft.next.type !== "continue" && this.#state === "running") this.#state = "handing over";
      this.#context.reporter.report({ report: this.#addressed(draft), isLost: () => this.#isLost }).then(
        (result) => {
          // A run that has reported did not crash its worker.
          this.#stay?.end();
          if (!result.ok || !result.released) this.#continue();
          if (result.ok) this.#context.metrics.recorded(this.claimed, draft.entries, sentAt);
          resolve(result);
        },
        (error) => {
          this.#continue();
          reject(error);
        },
      );
    });
  }

  replayed(): void {
    if (!this.#isReplaying) return;
    this.#isReplaying = false;
    this.#context.metrics.replayed(this.claimed, this.#context.env.elapsed() - this.startedAt);
  }

  reclaim(): void {
    this.#needsRun = true;
    if (this.#state === "cached") this.#context.reclaim(this);
  }

  listen(isListening: boolean): void {
    this.isListening = isListening;
    if (isListening) this.#context.watch.hasListener();
  }

  /** A waiting replay needs no slot, so its run frees the slot for other runs. */
  expect(call: Address | null): void {
    this.#replayWait.set(call);
    this.#slot.setIdle(call !== null);
  }

  get #isHeld(): boolean {
    return this.#state === "preparing" || this.#state === "running" || this.#state === "handing over";
  }

  /** Whether reports and requests for this run are not repeated any more. */
  get #isLost(): boolean {
    return this.#state === "lost" || this.#isLeaseOver;
  }

  /**
   * Whether the lease has ended. A lease that had expired before its claim was answered ends only if a renewal fails.
   */
  get #isLeaseOver(): boolean {
    return !this.#lease.isRenewed && !this.#lease.isProven;
  }

  async #run(before: Activation | undefined): Promise<void> {
    const { claimed } = this;
    const { log, registry, cache } = this.#context;
    log.claimed(claimed);
    if (before !== undefined) await before.#endBefore(claimed);
    const definition = registry.find(claimed.name, claimed.versionId);
    if (this.#context.isStopping || this.#slot.isExcess || definition === undefined) {
      cache.drop(claimed.id);
      const reason = definition === undefined ? "unserved" : "shutdown";
      await this.#release(reason);
      this.#state = "ended";
      log.released(claimed, reason);
      return;
    }
    const cached = claimed.isCached ? cache.take(claimed.id, claimed.fence, definition) : null;
    cache.drop(claimed.id);
    const run = await this.#prepare(cached !== null).catch((error: unknown) => {
      cached?.abandon("EVICTED");
      throw error;
    });
    if (run === null || !this.#isHeld) {
      this.#state = "lost";
      cached?.abandon(this.#lossCode);
      log.ended(claimed, { type: "lost", code: this.#lossCode });
      return;
    }
    const resumed = cached === null ? null : cached.#transferTo(this);
    const end = await this.#execute(resumed ?? this.#newExecution(definition), run, resumed !== null);
    log.ended(claimed, end);
    this.#conclude(end);
  }

  /** Ends before the next activation begins. The next claim may arrive before the answer to the last report. */
  async #endBefore({ isCached }: ClaimedRun): Promise<void> {
    if (!isCached) this.lose("FENCED");
    await this.#left;
  }

  /** Prepares the run for its handler; null if the run was lost during that time. */
  async #prepare(isResumable: boolean): Promise<ClaimedRun | null> {
    const { claimed } = this;
    const { api, env, ended } = this.#context;
    await this.#stay?.mayBegin;
    // If the lease is old, another worker may hold the run. So the lease is confirmed first.
    const needsConfirming = claimed.lostLeases > 0 || !this.#lease.isProven;
    if (!this.#isHeld || (needsConfirming && !(await this.#lease.confirm()))) return null;
    const isWorthwhile = () => !this.#isLost;
    const retry = { env, isWorthwhile, signals: [ended], maxPauseMs };
    return retryWithBackoff(() => withJournal(api, claimed, isResumable), retry);
  }

  #newExecution(definition: ExecutableVersion): HeldExecution {
    const { createExecution, env, logger } = this.#context;
    const { id, name, versionId } = this.claimed;
    const fields = { runId: id, workflow: name, version: versionId };
    return new HeldExecution(this, definition, createExecution, { env, logger: logger.child(fields) });
  }

  /** Makes the next activation the owner of the suspended execution. */
  #transferTo(next: Activation): HeldExecution | null {
    this.#state = "ended";
    if (this.#held !== null) this.#held.owner = next;
    return this.#held;
  }

  async #execute(held: HeldExecution, run: ClaimedRun, isResumed: boolean): Promise<ActivationEnd> {
    const { env, watch } = this.#context;
    const { execution } = held;
    this.#held = held;
    this.#state = "running";
    this.startedAt = env.elapsed();
    this.#isReplaying = !isResumed && run.journal.length > 0;
    const end = isResumed ? execution.resume(run) : execution.run(run);
    if (this.#context.isStopping) execution.release("shutdown");
    else if (this.#isPausing) execution.release("paused");
    watch.add(this);
    try {
      return await end;
    } finally {
      watch.remove(this);
    }
  }

  #conclude(end: ActivationEnd): void {
    const { cache, isStopping } = this.#context;
    if (end.type === "lost") {
      this.#state = "lost";
      if (end.code === "LEASE_LOST" && !isStopping) this.#context.reclaimLost(this);
    } else if (end.type !== "suspended") {
      this.#state = "ended";
    } else if (isStopping || this.#state === "lost") {
      this.abandon("SHUTDOWN");
    } else {
      this.#state = "cached";
      cache.put(this);
      if (this.#needsRun) this.#context.reclaim(this);
    }
  }

  #crashed(error: unknown): void {
    this.#state = "ended";
    this.#context.log.crashed(this.claimed, error);
  }

  #leave(onLeft: () => void): void {
    this.#stay?.end();
    this.#lease.end();
    onLeft();
    this.#replayWait.end();
    this.#slot.leave();
  }

  /** Stops the execution without a report, and rejects the report in progress. */
  #abandonRun(code: ErrorCode): void {
    this.#state = "lost";
    this.#lossCode = code;
    this.#rejectReport(new AikiError(code, "The worker abandoned the run.", { ids: { runId: this.runId } }));
    this.#held?.execution.abandon(code);
  }

  /** Returns to the state before a report, if the report did not end the activation. */
  #continue(): void {
    if (this.#state === "handing over") this.#state = "running";
  }

  async #release(reason: ReleaseReason): Promise<void> {
    const next = { type: "release", reason } as const;
    const report = this.#addressed({ ...this.position, entries: [], opens: [], starts: [], next });
    await this.#context.reporter.report({ report, isLost: () => this.#isLeaseOver }).catch(() => {});
  }

  #addressed(draft: ReportDraft): Report {
    this.#reports += 1;
    return { ...draft, reportId: String(this.#reports), runId: this.runId, fence: this.fence };
  }
}

/** Whether the run begins in quarantine: it lost its lease more than once. A single lost lease may have any cause. */
function mayCrashWorker({ lostLeases }: ClaimedRun): boolean {
  return lostLeases > 1;
}
