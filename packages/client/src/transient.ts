import { AikiError, isAikiError } from "@aikirun/lib";

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
