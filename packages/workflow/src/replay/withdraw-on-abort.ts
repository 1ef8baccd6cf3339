import { AikiError } from "@aikirun/lib";
import type { OpenCall } from "./call.ts";
import type { IdentifiedCall } from "./calls.ts";
import type { Replay } from "./replay.ts";

/** Withdraws the call when the signal aborts. Returns true if it had already aborted: the call is never made. */
export function withdrawOnAbort(
  { calls }: Replay,
  call: OpenCall & { promise: Promise<unknown> },
  made: IdentifiedCall,
  signal: AbortSignal | undefined,
): boolean {
  if (signal === undefined) return false;
  if (!isSignal(signal)) throw new AikiError("INVALID_OPTION", "The option signal must be an AbortSignal.");
  if (signal.aborted) {
    calls.skip(call, made, signal.reason);
    return true;
  }
  const withdraw = (): void => calls.withdraw(call, signal.reason);
  const forget = (): void => signal.removeEventListener("abort", withdraw);
  signal.addEventListener("abort", withdraw, { once: true });
  call.promise.then(forget, forget);
  return false;
}

function isSignal(value: unknown): value is AbortSignal {
  return typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value;
}
