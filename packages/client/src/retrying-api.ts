import { AikiError, type Env } from "@aikirun/lib";
import { type Api, type CallOptions, wrapApi } from "@aikirun/lib/protocol";
import { retryWithBackoff } from "./retry-with-backoff.ts";
import { isTransient } from "./transient.ts";

/** How long a call is repeated after its first failure. Milliseconds. */
const retryMs = 10_000;
const maxPauseMs = 2_000;

/**
 * An Api that repeats each call except `claim` for about 10 s while the server cannot be reached. A repeat sends the
 * same request with the same ids, so it has no effect if the first request was applied. When `closed` aborts, calls are
 * no longer repeated and throw its reason.
 */
export function retryingApi(api: Api, env: Env, closed: AbortSignal): Api {
  const repeat = async <Reply>(call: () => Promise<Reply>, { signal }: CallOptions = {}): Promise<Reply> => {
    let failingSince: number | null = null;
    const isWorthwhile = (pauseMs: number): boolean => {
      failingSince ??= env.elapsed();
      if (closed.aborted || signal?.aborted === true) return false;
      // Calls once more after a pause, even if the pause took longer than planned.
      return pauseMs === 0 || env.elapsed() + pauseMs - failingSince <= retryMs;
    };
    try {
      return await retryWithBackoff(call, { env, signals: [closed, signal], maxPauseMs, isWorthwhile });
    } catch (error) {
      if (isTransient(error) && closed.aborted) throw closed.reason;
      if (isTransient(error) && signal?.aborted === true) {
        throw new AikiError("ABORTED", "The caller aborted the call.", { cause: error });
      }
      throw error;
    }
  };
  // A claim is not repeated here: the worker makes another claim, which names the first one.
  return wrapApi(api, (verb, call) =>
    verb === "claim" ? call : (request, options) => repeat(() => call(request, options), options),
  );
}
