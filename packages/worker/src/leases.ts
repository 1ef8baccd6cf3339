import { isTransient } from "@aikirun/client/internal";
import type { Cancel, Env, ErrorCode, Logger } from "@aikirun/lib";
import { backoffMs } from "@aikirun/lib/internal";
import type { RenewRequest, RenewResult, RunId, TaskTry } from "@aikirun/lib/protocol";
import type { WorkerApi } from "./registration.ts";

/** The holder of a lease. */
export interface LeaseHolder {
  /** The lease is lost: another worker has the run, the run has ended, or no renewal was answered in time. */
  lost(code: ErrorCode): void;
  pause(): void;
  /** The running tries of tasks; each renewal of the lease carries them. */
  readonly tries: TaskTry[];
}

/** The right to execute one run for a limited time. */
export interface Lease {
  /** Whether effects may begin: the last acknowledged claim or renewal was sent less than one lease ago. */
  readonly isProven: boolean;
  /** False once the lease is lost or has ended. It is then no longer renewed. */
  readonly isRenewed: boolean;
  /** Renews the lease and waits for the answer. Resolves to false when the run was lost. */
  confirm(): Promise<boolean>;
  /** Call when the worker no longer holds the run. */
  end(): void;
}

/** A claimed run. A dormant lease is not renewed before `confirm` is called. */
export interface Holding {
  runId: RunId;
  fence: number;
  isDormant?: boolean;
}

export interface LeasesOptions {
  api: Pick<WorkerApi, "renew">;
  env: Env;
  logger: Logger;
  leaseMs: number;
  heartbeatIntervalMs: number;
}

/** A moment on two clocks. The monotonic clock stops while the machine sleeps; the wall clock may be set back. */
export interface Instant {
  readonly elapsed: number;
  readonly now: number;
}

/** How long the server's lease lasts before its first renewal. Milliseconds. */
const unconfirmedMs = 10_000;
/** The age at which a claim is confirmed by a renewal, if no heartbeat has confirmed it. Milliseconds. */
const confirmAfterMs = 3_000;
/** A renewal that is not answered within this time is aborted. Milliseconds. */
const renewTimeoutMs = 10_000;
/**
 * An unconfirmed lease is short. If its renewal has no answer after this time, a second renewal is sent while the first
 * one is still in progress. Milliseconds.
 */
const secondRenewalMs = 2_000;
/** The longest pause between renewals that fail. Milliseconds. */
const maxPauseMs = 1_000;

export function instant(env: Env): Instant {
  return { elapsed: env.elapsed(), now: env.now() };
}

/** The instant `ms` milliseconds later, but not later than now, because the clocks may have stopped. */
export function later(env: Env, { elapsed, now }: Instant, ms: number): Instant {
  return { elapsed: Math.min(env.elapsed(), elapsed + ms), now: Math.min(env.now(), now + ms) };
}

/** All leases of a worker. Each heartbeat renews all of them with one request. */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #held = new Map<RunId, HeldLease>();
  #timer: { at: number; cancel: Cancel } | null = null;
  #failures = 0;
  #isClosed = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /** How long an unconfirmed lease lasts. Milliseconds. */
  get unconfirmedMs(): number {
    return Math.min(this.#options.leaseMs, unconfirmedMs);
  }

  /** The lease began at `takenAt` or later. An earlier lease of the same run is no longer renewed. */
  hold(run: Holding, takenAt: Instant, holder: LeaseHolder): Lease {
    const lease = new HeldLease(this, this.#options, run, takenAt, holder);
    this.#held.set(run.runId, lease);
    if (!lease.isDormant) this.#wakeIn(lease.dueInMs);
    return lease;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#held.clear();
  }

  /** Called by its leases. */
  has(lease: HeldLease): boolean {
    return this.#held.get(lease.runId) === lease;
  }

  /** Called by its leases. Returns false when the lease had already been removed. */
  remove(lease: HeldLease): boolean {
    return this.has(lease) && this.#held.delete(lease.runId);
  }

  /** Called by its leases: renews as soon as the server may be called. */
  renewSoon(): void {
    this.#wakeIn(this.#pauseMs);
  }

  /** The pause before the server is called again after failures. Milliseconds. */
  get #pauseMs(): number {
    const { env, heartbeatIntervalMs } = this.#options;
    return this.#failures === 0 ? 0 : backoffMs(env, this.#failures, Math.min(maxPauseMs, heartbeatIntervalMs));
  }

  #wakeIn(ms: number): void {
    const { env } = this.#options;
    const at = env.elapsed() + Math.max(0, ms);
    if (this.#isClosed || (this.#timer !== null && this.#timer.at <= at)) return;
    this.#timer?.cancel();
    this.#timer = { at, cancel: env.after(at - env.elapsed(), () => void this.#renew()) };
  }

  #schedule(): void {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const lease of this.#held.values()) nextMs = Math.min(nextMs, lease.dueInMs);
    if (nextMs < Number.POSITIVE_INFINITY) this.#wakeIn(Math.max(nextMs, this.#pauseMs));
  }

  async #renew(): Promise<void> {
    this.#timer = null;
    const earlyMs = Math.min(1_000, this.#options.heartbeatIntervalMs / 10);
    const due = [...this.#held.values()].filter(
      ({ dueInMs, unansweredSince }) => dueInMs <= (unansweredSince === null ? earlyMs : 0),
    );
    const sent = due.length > 0 ? this.#sendRenewal(due) : null;
    this.#schedule();
    await sent;
    this.#schedule();
  }

  /** Sends one renewal. Aborts it after one heartbeat interval at most, because the next renewal may succeed. */
  async #sendRenewal(due: HeldLease[]): Promise<void> {
    const { api, env, logger, heartbeatIntervalMs } = this.#options;
    const timeout = new AbortController();
    const timeoutMs = Math.min(renewTimeoutMs, Math.max(1_000, heartbeatIntervalMs));
    const cancel = env.after(timeoutMs, () => timeout.abort());
    const sentAt = instant(env);
    for (const lease of due) lease.unansweredSince = sentAt.elapsed;
    try {
      const runs = due.map((lease) => lease.renewal);
      const { results } = await api.renew({ runs }, { signal: timeout.signal });
      this.#failures = 0;
      for (const [index, lease] of due.entries()) this.#answered(lease, results[index], sentAt);
    } catch (error) {
      this.#failures += 1;
      if (this.#failures === 1 || !isTransient(error)) logger.warn("heartbeat failed", { runs: due.length, error });
      for (const lease of due) {
        if (lease.wasProven && !lease.isInTime) lease.lose("LEASE_LOST");
      }
    } finally {
      cancel();
      for (const lease of due) {
        if (lease.unansweredSince === sentAt.elapsed) lease.unansweredSince = null;
      }
    }
  }

  #answered(lease: HeldLease, result: RenewResult | undefined, sentAt: Instant): void {
    if (!this.has(lease) || result === undefined) return;
    if (result.ok) lease.renewed(sentAt, result.pause);
    else lease.lose(result.code);
  }
}

class HeldLease implements Lease {
  readonly runId: RunId;
  readonly fence: number;
  isDormant: boolean;
  /** Whether the lease was valid at any time. If not, no effect that depends on it has begun. */
  wasProven: boolean;
  /** When the unanswered renewal was sent, in monotonic milliseconds; null when no renewal is unanswered. */
  unansweredSince: number | null = null;
  readonly #leases: Leases;
  readonly #options: LeasesOptions;
  readonly #holder: LeaseHolder;
  /** When the last acknowledged claim or renewal was sent. */
  #provenAt: Instant;
  #isConfirmed = false;
  /** Whether the next request renews this lease even if its renewal is not due. */
  #isUrgent = false;
  /** Resolvers of the calls that wait for the next answer. */
  #waiting: Array<(isHeld: boolean) => void> = [];

  constructor(leases: Leases, options: LeasesOptions, run: Holding, takenAt: Instant, holder: LeaseHolder) {
    const { runId, fence, isDormant = false } = run;
    this.#leases = leases;
    this.#options = options;
    this.runId = runId;
    this.fence = fence;
    this.isDormant = isDormant;
    this.#provenAt = takenAt;
    this.#holder = holder;
    this.wasProven = this.isInTime;
  }

  get isProven(): boolean {
    const isProven = this.isInTime;
    if (!isProven && this.isRenewed && !this.#isUrgent) this.#renewSoon();
    return isProven;
  }

  get isRenewed(): boolean {
    return this.#leases.has(this);
  }

  get isInTime(): boolean {
    const { leaseMs } = this.#options;
    // mutant: lease-proven
    return this.#ageMs < (this.#isConfirmed ? leaseMs : Math.min(leaseMs, unconfirmedMs));
  }

  /** Its part of a heartbeat. */
  get renewal(): RenewRequest["runs"][number] {
    const { runId, fence } = this;
    const { tries } = this.#holder;
    return tries.length === 0 ? { runId, fence } : { runId, fence, tries };
  }

  /** The time until the next renewal, in milliseconds; infinite while an answer is awaited. */
  get dueInMs(): number {
    const { env, leaseMs, heartbeatIntervalMs } = this.#options;
    if (this.unansweredSince !== null) {
      return this.#isConfirmed ? Number.POSITIVE_INFINITY : this.unansweredSince + secondRenewalMs - env.elapsed();
    }
    if (this.#isUrgent) return 0;
    if (this.isDormant) return Number.POSITIVE_INFINITY;
    const dueMs = this.#isConfirmed ? heartbeatIntervalMs : Math.min(confirmAfterMs, leaseMs / 3, heartbeatIntervalMs);
    return dueMs - this.#ageMs;
  }

  confirm(): Promise<boolean> {
    return new Promise((resolve) => {
      this.isDormant = false;
      this.#waiting.push(resolve);
      this.#renewSoon();
    });
  }

  end(): void {
    this.#leases.remove(this);
    this.#settle(false);
  }

  renewed(sentAt: Instant, pause: boolean): void {
    this.unansweredSince = null;
    if (sentAt.elapsed >= this.#provenAt.elapsed) this.#provenAt = sentAt;
    this.#isConfirmed = true;
    this.wasProven = true;
    this.#isUrgent = false;
    this.#settle(true);
    if (pause) this.#holder.pause();
  }

  lose(code: ErrorCode): void {
    if (!this.#leases.remove(this)) return;
    this.#settle(false);
    this.#holder.lost(code);
  }

  get #ageMs(): number {
    const { env } = this.#options;
    return Math.max(env.elapsed() - this.#provenAt.elapsed, env.now() - this.#provenAt.now);
  }

  #renewSoon(): void {
    this.#isUrgent = true;
    this.#leases.renewSoon();
  }

  #settle(isHeld: boolean): void {
    for (const resolve of this.#waiting.splice(0)) resolve(isHeld);
  }
}
