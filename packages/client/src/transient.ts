import { AikiError, type Env, isAikiError } from "@aikirun/lib";
import { waitUntil } from "@aikirun/lib/internal";

/** The server is there and cannot answer now; `retryAfterMs` is how long it asks to be left alone. */
export class ServerBusy extends AikiError {
  /** How long the server asks not to be called again. Milliseconds; null when it did not say. */
  readonly retryAfterMs: number | null;

  constructor(code: AikiError["code"], message: string, ids: Record<string, string>, retryAfterMs: number | null) {
    super(code, message, { ids });
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether the same call may succeed later: the server was not reached, or answered that it cannot serve now. */
export function isTransient(error: unknown): boolean {
  return (
    isAikiError(error) && (error.code === "UNREACHABLE" || error.code === "UNAVAILABLE" || error instanceof ServerBusy)
  );
}

/** Milliseconds for which the server asked not to be called again; 0 when it did not say. */
export function retryAfterOf(error: unknown): number {
  return error instanceof ServerBusy ? (error.retryAfterMs ?? 0) : 0;
}

/** The pause after the `failures`-th failure in a row: doubling, with jitter, never above `maxMs`. Milliseconds. */
export function backoffMs(env: Env, failures: number, maxMs: number): number {
  const full = Math.min(maxMs, 100 * 2 ** Math.min(failures - 1, 20));
  return full * (0.5 + env.random() / 2);
}

/** Resolves after `ms` milliseconds, or as soon as one of the signals aborts. Keeps the process alive meanwhile. */
export async function pause(env: Env, ms: number, ...signals: ReadonlyArray<AbortSignal | undefined>): Promise<void> {
  const release = keepAlive();
  await waitUntil(env, { timeoutMs: ms, signals });
  release();
}

/** Someone awaits a durable answer: the process must not end, though no timer of `Env` holds it. */
export function keepAlive(): () => void {
  const timer = setInterval(() => {}, 2 ** 30);
  return () => clearInterval(timer);
}
