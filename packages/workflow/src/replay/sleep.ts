import { AikiError } from "@aikirun/lib";
import { checkName, Fields } from "@aikirun/lib/internal";
import type { OpenWait } from "@aikirun/lib/protocol";
import { Call, refused } from "./call.ts";
import { addressOfCall } from "./calls.ts";
import type { Replay } from "./replay.ts";
import { remainingMs } from "./timeout.ts";
import { withdrawOnAbort } from "./withdraw-on-abort.ts";

/** How a sleep ended. */
export interface SleepResult {
  /** True when `wake` ended it before its time. */
  wokenEarly: boolean;
}

/** Options of a sleep. */
export interface SleepOptions {
  /** Withdraws the sleep when it aborts: the sleep rejects with `AikiError` `WAIT_WITHDRAWN`. Default: none. */
  signal?: AbortSignal;
}

/** `sleep(duration)`, `sleep(duration, options)`, `sleep(name, duration)` or `sleep(name, duration, options)`. */
export function sleepFor(replay: Replay, args: readonly unknown[]): Promise<SleepResult> {
  try {
    const [first, ...others] = args;
    if (typeof first !== "string") return sleep(replay, null, lengthOf(replay, null, first), others[0]);
    const name = checkName(first, "sleep");
    return sleep(replay, name, lengthOf(replay, name, others[0]), others[1]);
  } catch (thrown) {
    return refused(thrown);
  }
}

/** `sleepUntil(moment)` or `sleepUntil(name, moment)`; both accept options as the last argument. */
export function sleepUntil(replay: Replay, args: readonly unknown[]): Promise<SleepResult> {
  try {
    const name = typeof args[0] === "string" ? checkName(args[0], "sleep") : null;
    const [until, options] = name === null ? args : args.slice(1);
    return sleep(replay, name, { durationMs: null, until: momentOf(until) }, options);
  } catch (thrown) {
    return refused(thrown);
  }
}

type Length = Pick<OpenWait, "durationMs" | "until">;

function sleep(replay: Replay, name: string | null, length: Length, options: unknown): Promise<SleepResult> {
  const fields = new Fields(options ?? {}, "options of sleep", "INVALID_OPTION");
  const signal = fields.signal("signal");
  fields.done();
  const identified = replay.calls.identify({ kind: "sleep", name, content: null, isNameKey: true });
  const call = new Call(identified.made, (value): SleepResult => {
    return { wokenEarly: value.type === "elapsed" && value.early === true };
  });
  if (withdrawOnAbort(replay, call, identified, signal)) return call.promise;
  const label = name === null ? {} : { name };
  replay.calls.make(call, identified, "wait", () => {
    replay.calls.openWait(call, { address: addressOfCall(call), type: "sleep", ...label, ...length });
  });
  return call.promise;
}

function lengthOf(replay: Replay, name: string | null, duration: unknown): Length {
  return { durationMs: remainingMs(replay, duration, name === null ? "sleep" : `sleep "${name}"`) };
}

function momentOf(until: unknown): number {
  const at = until instanceof Date ? until.getTime() : until;
  if (typeof at === "number" && Math.abs(at) <= 8.64e15) return Math.ceil(at);
  throw new AikiError(
    "INVALID_OPTION",
    "The moment of sleepUntil must be a Date, or epoch milliseconds that a Date can represent.",
  );
}
