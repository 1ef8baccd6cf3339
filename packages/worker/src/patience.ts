import { backoffMs, isTransient, pause, retryAfterOf } from "@aikirun/client/internal";
import type { Env } from "@aikirun/lib";

/** How long a call is repeated that meets a server which is away. */
export interface Patience {
  env: Env;
  /** Asked before each repeat: whether there is still a point. */
  worthwhile: () => boolean;
  /** Ends pauses early. */
  signal: AbortSignal;
  /** The longest pause. Milliseconds. */
  maxPauseMs: number;
}

/** The answer, or the last fault: one that is not transient, or any once there is no point in repeating. */
export async function patiently<Reply>(
  call: () => Promise<Reply>,
  { env, worthwhile, signal, maxPauseMs }: Patience,
): Promise<Reply> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await call();
    } catch (error) {
      if (!isTransient(error) || !worthwhile()) {
        throw error;
      }
      await pause(env, Math.max(backoffMs(env, failures, maxPauseMs), retryAfterOf(error)), signal);
      if (!worthwhile()) {
        throw error;
      }
    }
  }
}
