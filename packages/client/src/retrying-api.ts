import { AikiError, type Env } from "@aikirun/lib";
import { type Api, type CallOptions, wrapApi } from "@aikirun/lib/protocol";
import { retryWithBackoff } from "./retry-with-backoff.ts";
import { isTransient } from "./transient.ts";

/** How long a call is repeated after its first failure. Milliseconds. */
const retryMs = 10_000;
const maxPauseMs = 2_000;

/**
 * The same Api, each call but `claim` repeated while the server cannot be reached, for about 10 s. A repeat sends the
 * same request with the same ids, so a reply that was lost costs nothing. `closed` ends repeating; its reason is then
 * thrown.
 */
export function retryingApi(api: Api, env: Env, closed: AbortSignal): Api {
  const repeat = async <Reply>(call: () => Promise<Reply>, { signal }: CallOptions = {}): Promise<Reply> => {
    let failingSince: number | null = null;
    const isWorthwhile = (pauseMs: number): boolean => {
      failingSince ??= env.elapsed();
      if (closed.aborted || signal?.aborted === true) return false;
      // After a pause it calls once more, however long the pause took.
      return pauseMs === 0 || env.elapsed() + pauseMs - failingSince <= retryMs;
    };
    try {
      return await retryWithBackoff(call, { env, signals: [closed, signal], maxPauseMs, isWorthwhile });
    } catch (error) {
      if (isTransient(error) && closed.aborted) throw closed.reason;
      if (isTransient(error) && signal?.aborted === true) {
        throw new AikiError("ABORTED", "The caller gave up.", { cause: error });
      }
      throw error;
    }
  };
  // A claim is not repeated here: a worker repeats it by another claim, which names the first.
  return wrapApi(api, (verb, call) =>
    verb === "claim" ? call : (request, options) => repeat(() => call(request, options), options),
  );
}
