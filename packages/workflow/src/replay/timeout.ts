import type { Duration } from "@aikirun/lib";
import { type Fields, isRecord, toMs } from "@aikirun/lib/internal";
import type { Replay } from "./replay.ts";
import { uncheckedCast } from "./unchecked-cast.ts";

/**
 * A duration in milliseconds. A negative duration counts as zero, because its end has passed; a warning is logged.
 * Throws `AikiError` `INVALID_DURATION` for an invalid duration.
 */
export function remainingMs(replay: Replay, duration: unknown, where: string): number {
  return isPast(replay, duration, where) ? 0 : toMs(uncheckedCast<Duration>(duration), where);
}

/** The timeout of a wait, in milliseconds; null: no timeout. Throws `INVALID_OPTION` or `INVALID_DURATION`. */
export function timeoutOf(replay: Replay, fields: Fields): number | null {
  return isPast(replay, fields.take("timeout"), fields.where) ? 0 : (fields.duration("timeout") ?? null);
}

function isPast({ scheduler, run }: Replay, duration: unknown, where: string): boolean {
  if (!isRecord(duration)) return false;
  const isNegative = Object.values(duration).some((amount) => typeof amount === "number" && amount < 0);
  if (isNegative && !scheduler.replaying) {
    const fields = { runId: run.id, duration: JSON.stringify(duration) };
    scheduler.host.logger.warn(
      `a duration is negative (${where}): it is used as zero, because its end has passed`,
      fields,
    );
  }
  return isNegative;
}
