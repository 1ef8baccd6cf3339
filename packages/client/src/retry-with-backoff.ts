import type { Env } from "@aikirun/lib";
import { backoffMs, pause } from "@aikirun/lib/internal";
import { isTransient, retryAfterOf } from "./transient.ts";

/** How long and how often a call is repeated. */
export interface RetryOptions {
  env: Env;
  /** When one of them aborts, the current pause ends early. */
  signals: ReadonlyArray<AbortSignal | undefined>;
  /** The longest pause, unless the server requests a longer one. Milliseconds. */
  maxPauseMs: number;
  /** Whether to call again. Called before each pause with its length in milliseconds, and after it with 0. */
  isWorthwhile: (pauseMs: number) => boolean;
}

/**
 * Repeats the call after transient faults, with growing pauses. Throws the fault if it is not transient, or if
 * `isWorthwhile` returns false.
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
