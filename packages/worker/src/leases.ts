import { backoffMs, isTransient } from "@aikirun/client/internal";
import type { AikiError, Cancel, Env, Logger } from "@aikirun/lib";
import type { Api, RenewResult, RunId } from "@aikirun/lib/protocol";

/** What a lease tells its holder. */
export interface LeaseEvents {
  /** The run is somebody else's, has ended, or must be presumed lost. */
  lost(code: AikiError["code"]): void;
  pause(): void;
}

/** The right to execute one run for a while. */
export interface Lease {
  /** True for less than one lease after the last acknowledged claim or renew was sent: an effect may begin. */
  readonly isProven: boolean;
  /**
   * True once it is neither proven nor renewed any more: the run must be presumed lost. A lease that is too old when
   * its claim is answered, because the answer took so long, is not lost before a renewal fails.
   */
  readonly isLost: boolean;
  /** Renews and awaits the answer; false when the run was lost. */
  confirm(): Promise<boolean>;
  /** The run left this worker's hands. */
  end(): void;
}

/** All leases of a worker, kept by one renewal of them all per heartbeat. */
export interface Leases {
  /** `takenAt`: the lease began no earlier. */
  hold(run: Holding, takenAt: Instant, events: LeaseEvents): Lease;
  /** How long a lease lasts that nothing has confirmed. Milliseconds. */
  readonly unconfirmedMs: number;
  close(): void;
}

/** A run that is held. A dormant lease is not renewed, hence not confirmed, before `confirm`. */
export interface Holding {
  runId: RunId;
  fence: number;
  isDormant?: boolean;
}

export interface LeasesOptions {
  api: Api;
  env: Env;
  logger: Logger;
  session: string;
  leaseMs: number;
  heartbeatIntervalMs: number;
}

/** A moment by both clocks: the monotonic one stands still while a machine sleeps, the other may be set back. */
export interface Instant {
  readonly elapsed: number;
  readonly now: number;
}

/** The lease that a server grants to a claim that nothing has confirmed yet. Milliseconds. */
const unconfirmedMs = 10_000;
/** When a claim is confirmed that no heartbeat has renewed. Milliseconds. */
const confirmAfterMs = 3_000;
/** How long the server may take to renew leases. Milliseconds. */
const renewPatienceMs = 10_000;
/** A lease that nothing has confirmed is short: without an answer it is renewed again beside that. Milliseconds. */
const besideMs = 2_000;

interface Held {
  runId: RunId;
  fence: number;
  isDormant: boolean;
  /** When the last acknowledged claim or renew was sent. */
  provenAt: Instant;
  confirmed: boolean;
  /** Whether it was ever proven: only then may anything have begun that must end with it. */
  wasProven: boolean;
  events: LeaseEvents;
  /** Those who await the next answer. */
  waiting: Array<(isHeld: boolean) => void>;
  /** Renewed at the next occasion, due or not. */
  isUrgent: boolean;
  /** When it was last renewed without an answer so far, by the monotonic clock; null when there was one. */
  askedAt: number | null;
}

export function instant(env: Env): Instant {
  return { elapsed: env.elapsed(), now: env.now() };
}

/** `ms` later, but not in the future: the clocks may have stood still meanwhile. */
export function later(env: Env, { elapsed, now }: Instant, ms: number): Instant {
  return { elapsed: Math.min(env.elapsed(), elapsed + ms), now: Math.min(env.now(), now + ms) };
}

export function leases(options: LeasesOptions): Leases {
  const { api, env, logger, session, leaseMs, heartbeatIntervalMs } = options;
  const held = new Map<RunId, Held>();
  const slackMs = Math.min(1_000, heartbeatIntervalMs / 10);
  const earlyMs = Math.min(confirmAfterMs, leaseMs / 3, heartbeatIntervalMs);
  let timer: { at: number; cancel: Cancel } | null = null;
  let failures = 0;
  let isClosed = false;

  const ageOf = ({ provenAt }: Held) => Math.max(env.elapsed() - provenAt.elapsed, env.now() - provenAt.now);
  // mutant: lease-proven
  const isProven = (lease: Held) => ageOf(lease) < (lease.confirmed ? leaseMs : Math.min(leaseMs, unconfirmedMs));
  const leftMs = (lease: Held) => {
    if (lease.askedAt !== null) {
      return lease.confirmed ? Number.POSITIVE_INFINITY : lease.askedAt + besideMs - env.elapsed();
    }
    if (lease.isUrgent) return 0;
    if (lease.isDormant) return Number.POSITIVE_INFINITY;
    return (lease.confirmed ? heartbeatIntervalMs : earlyMs) - ageOf(lease);
  };

  function wake(inMs: number): void {
    const at = env.elapsed() + Math.max(0, inMs);
    if (isClosed || (timer !== null && timer.at <= at)) {
      return;
    }
    timer?.cancel();
    timer = { at, cancel: env.after(at - env.elapsed(), () => void renew()) };
  }

  function schedule(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const lease of held.values()) {
      next = Math.min(next, leftMs(lease));
    }
    if (next < Number.POSITIVE_INFINITY) {
      wake(failures === 0 ? next : Math.max(next, backoffMs(env, failures, Math.min(1_000, heartbeatIntervalMs))));
    }
  }

  async function renew(): Promise<void> {
    timer = null;
    const due = [...held.values()].filter((lease) => leftMs(lease) <= (lease.askedAt === null ? slackMs : 0));
    const asked = due.length > 0 ? ask(due) : null;
    schedule();
    await asked;
    schedule();
  }

  /** On a call path of its own, never longer than a heartbeat: the next try may fare better. */
  async function ask(due: Held[]): Promise<void> {
    const leave = new AbortController();
    const patienceMs = Math.min(renewPatienceMs, Math.max(1_000, heartbeatIntervalMs));
    const cancel = env.after(patienceMs, () => leave.abort());
    const sentAt = instant(env);
    for (const lease of due) lease.askedAt = sentAt.elapsed;
    try {
      const runs = due.map(({ runId, fence }) => ({ runId, fence }));
      const { results } = await api.renew({ session, leaseMs, runs }, { signal: leave.signal });
      failures = 0;
      for (const [index, lease] of due.entries()) {
        answer(lease, results[index], sentAt);
      }
    } catch (error) {
      failures += 1;
      if (failures === 1 || !isTransient(error)) {
        logger.warn("heartbeat failed", { runs: due.length, error });
      }
      for (const lease of due) {
        if (lease.wasProven && !isProven(lease)) {
          lose(lease, "LEASE_LOST");
        }
      }
    } finally {
      cancel();
      for (const lease of due) {
        if (lease.askedAt === sentAt.elapsed) lease.askedAt = null;
      }
    }
  }

  function answer(lease: Held, result: RenewResult | undefined, sentAt: Instant): void {
    if (held.get(lease.runId) !== lease || result === undefined) {
      return;
    }
    if (!result.ok) {
      lose(lease, result.code);
      return;
    }
    lease.askedAt = null;
    if (sentAt.elapsed >= lease.provenAt.elapsed) lease.provenAt = sentAt;
    lease.confirmed = true;
    lease.wasProven = true;
    lease.isUrgent = false;
    settle(lease, true);
    if (result.pause) {
      lease.events.pause();
    }
  }

  function lose(lease: Held, code: AikiError["code"]): void {
    if (remove(lease)) {
      settle(lease, false);
      lease.events.lost(code);
    }
  }

  function remove(lease: Held): boolean {
    return held.get(lease.runId) === lease && held.delete(lease.runId);
  }

  function hurry(lease: Held): void {
    lease.isUrgent = true;
    wake(failures === 0 ? 0 : backoffMs(env, failures, Math.min(1_000, heartbeatIntervalMs)));
  }

  return {
    unconfirmedMs: Math.min(leaseMs, unconfirmedMs),
    hold({ runId, fence, isDormant = false }, takenAt, events) {
      const fresh = {
        provenAt: takenAt,
        confirmed: false,
        wasProven: false,
        isUrgent: false,
        askedAt: null,
        waiting: [],
      };
      const lease: Held = { runId, fence, isDormant, events, ...fresh };
      lease.wasProven = isProven(lease);
      held.set(runId, lease);
      if (!isDormant) wake(leftMs(lease));
      return {
        get isProven() {
          const proven = isProven(lease);
          if (!proven && held.get(runId) === lease && !lease.isUrgent) {
            hurry(lease);
          }
          return proven;
        },
        get isLost() {
          return held.get(runId) !== lease && !isProven(lease);
        },
        confirm: () =>
          new Promise((resolve) => {
            lease.isDormant = false;
            lease.waiting.push(resolve);
            hurry(lease);
          }),
        end() {
          remove(lease);
          settle(lease, false);
        },
      };
    },
    close() {
      isClosed = true;
      timer?.cancel();
      held.clear();
    },
  };
}

function settle(lease: Held, isHeld: boolean): void {
  for (const resolve of lease.waiting.splice(0)) {
    resolve(isHeld);
  }
}
