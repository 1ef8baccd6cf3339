import type { Env } from "./env.ts";
import { waitUntil } from "./wait.ts";

/** The pause after the `failures`-th failure in a row: doubling, with jitter, never above `maxMs`. Milliseconds. */
export function backoffMs(env: Pick<Env, "random">, failures: number, maxMs: number): number {
  const full = Math.min(maxMs, 100 * 2 ** Math.min(failures - 1, 20));
  return full * (0.5 + env.random() / 2);
}

/** Resolves after `ms` milliseconds, or as soon as one of the signals aborts. Keeps the process alive until then. */
export async function pause(
  env: Pick<Env, "after">,
  ms: number,
  ...signals: ReadonlyArray<AbortSignal | undefined>
): Promise<void> {
  const release = keepAlive();
  await waitUntil(env, { timeoutMs: ms, signals });
  release();
}

/** Keeps the process alive until the returned function is called: timers of an `Env` do not. */
export function keepAlive(): () => void {
  const timer = setInterval(() => {}, 2 ** 30);
  return () => clearInterval(timer);
}
