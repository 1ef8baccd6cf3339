import type { Env } from "@aikirun/lib";
import { backoffMs, pause } from "@aikirun/lib/internal";
import { isTransient, retryAfterOf } from "./transient.ts";

/** How long and how often a call is repeated. */
export interface RetryOptions {
  env: Env;
  /** Each ends a pause early. */
  signals: ReadonlyArray<AbortSignal | undefined>;
  /** The longest pause that the server did not ask for. Milliseconds. */
  maxPauseMs: number;
  /** Asked before each pause, with its length in milliseconds, and with 0 after it: whether to call again. */
  isWorthwhile: (pauseMs: number) => boolean;
}

/**
 * Calls until there is a reply, pausing for longer after each transient fault. Throws the last fault: one that is not
 * transient, or any once calling again is not worthwhile.
 */
export async function retryWithBackoff<Reply>(
  call: () => Promise<Reply>,
  { env, signals, maxPauseMs, isWorthwhile }: RetryOptions,
): Promise<Reply> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await call();
    } catch (error) {
      const pauseMs = Math.max(backoffMs(env, failures, maxPauseMs), retryAfterOf(error));
      if (!isTransient(error) || !isWorthwhile(pauseMs)) throw error;
      await pause(env, pauseMs, ...signals);
      if (!isWorthwhile(0)) throw error;
    }
  }
}
