/** A fault of a process or engine, and when it happened. Only a harm may explain a repeated effect. */

export interface Harm {
  what: string;
  /** The affected process. Null if all processes were affected. */
  pid: number | null;
  /** Epoch milliseconds. */
  from: number;
  until: number;
}

/** How long after a harm an operation may still be lost: two leases and a reply. Milliseconds. */
const lossWindowMs = 4_000;

/** Whether the harm may explain that an effect of the process at `from` was repeated at `until`. */
export function explains(harm: Harm, pid: number, from: number, until: number): boolean {
  const isAffected = harm.pid === null || harm.pid === pid;
  return isAffected && harm.from <= until && harm.until + lossWindowMs >= from;
}

/**
 * The harms that a process itself printed: it was paused, or a heartbeat got no reply for longer than the heartbeat
 * interval.
 */
export function latenessOf(output: string, pid: number | null): Harm[] {
  return [...output.matchAll(/^(late|kept waiting) (\d+) at (\d+)$/gm)].map(([, what = "", ms, at]) => ({
    what,
    pid,
    from: Number(at) - Number(ms),
    until: Number(at),
  }));
}
