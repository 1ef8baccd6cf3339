import type { Replay } from "./replay.ts";

const counts = new WeakMap<Replay, Map<string, number>>();

/** Warns if a second wait for an event opens while another one is open. Warns once for each run and event. */
export function warnOfSecondWait(replay: Replay, event: string, wait: Promise<unknown>): void {
  const { scheduler, run } = replay;
  const open = counts.get(replay) ?? new Map<string, number>();
  counts.set(replay, open);
  const before = open.get(event) ?? 0;
  if (before === Number.POSITIVE_INFINITY) return;
  open.set(event, before + 1);
  const closed = (): void => {
    open.set(event, (open.get(event) ?? 1) - 1);
  };
  wait.then(closed, closed);
  if (before === 0 || scheduler.replaying) return;
  open.set(event, Number.POSITIVE_INFINITY);
  const advice =
    "only the oldest one receives the next event. Withdraw waits that lost a race: use run.race or a signal";
  scheduler.host.logger.warn(`the run has several open waits for event "${event}": ${advice}`, {
    runId: run.id,
    event,
  });
}
