/** What was done to the processes and their engines, and when: nothing else may explain that an effect was repeated. */

export interface Harm {
  what: string;
  /** Who bore it; null when it came over all. */
  pid: number | null;
  /** Epoch milliseconds. */
  from: number;
  until: number;
}

/** For so long after it, what was under way may still be lost: two leases, and an answer. Milliseconds. */
const aftermathMs = 4_000;

/** Whether it may have kept what this process did at `from` from being recorded before `until`. */
export function touches(harm: Harm, pid: number, from: number, until: number): boolean {
  const isBorne = harm.pid === null || harm.pid === pid;
  return isBorne && harm.from <= until && harm.until + aftermathMs >= from;
}

/**
 * Moments at which a process said that it had stood still, or that its heartbeat was not answered for longer than one
 * takes to come, as harms of its own.
 */
export function latenessOf(output: string, pid: number | null): Harm[] {
  return [...output.matchAll(/^(late|kept waiting) (\d+) at (\d+)$/gm)].map(([, what = "", ms, at]) => ({
    what,
    pid,
    from: Number(at) - Number(ms),
    until: Number(at),
  }));
}
