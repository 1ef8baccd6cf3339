import { AikiError, isAikiError } from "@aikirun/lib";

/** The server is reachable but cannot answer now. */
export class ServerBusy extends AikiError {
  /** The pause that the server requests before the next call. Milliseconds; null when it requests none. */
  readonly retryAfterMs: number | null;

  constructor(code: AikiError["code"], message: string, ids: Record<string, string>, retryAfterMs: number | null) {
    super(code, message, { ids });
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether the same call may succeed later: the server is unreachable, or answered that it cannot serve now. */
export function isTransient(error: unknown): boolean {
  return (
    isAikiError(error) && (error.code === "UNREACHABLE" || error.code === "UNAVAILABLE" || error instanceof ServerBusy)
  );
}

/** The pause that the server requests before the next call. Milliseconds; 0 when it requests none. */
export function retryAfterOf(error: unknown): number {
  return error instanceof ServerBusy ? (error.retryAfterMs ?? 0) : 0;
}
