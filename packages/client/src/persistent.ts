import { AikiError, type Env } from "@aikirun/lib";
import type { Api, CallOptions } from "@aikirun/lib/protocol";
import { backoffMs, isTransient, pause, retryAfterOf } from "./transient.ts";

/** How long a call is repeated after its first failure. Milliseconds. */
const patienceMs = 10_000;
const maxPauseMs = 2_000;

/**
 * The same Api, each call but `claim` repeated while the server cannot be reached, for about 10 s. A repeat sends the
 * same request with the same ids, so a reply that was lost costs nothing. `closed` ends repeating; its reason is then
 * thrown.
 */
export function persistent(api: Api, env: Env, closed: AbortSignal): Api {
  const repeat = async <Reply>(
    call: (options: CallOptions | undefined) => Promise<Reply>,
    options: CallOptions | undefined,
  ): Promise<Reply> => {
    let failingSince: number | null = null;
    for (let failures = 1; ; failures += 1) {
      try {
        return await call(options);
      } catch (error) {
        failingSince ??= env.elapsed();
        const delay = Math.max(backoffMs(env, failures, maxPauseMs), retryAfterOf(error));
        if (!isTransient(error) || closed.aborted || env.elapsed() + delay - failingSince > patienceMs) {
          throw error;
        }
        await pause(env, delay, options?.signal ?? closed);
        if (closed.aborted) {
          throw closed.reason;
        }
        if (options?.signal?.aborted === true) {
          throw new AikiError("ABORTED", "The caller gave up.", { cause: error });
        }
      }
    }
  };
  return {
    start: (request, options) => repeat((given) => api.start(request, given), options),
    // The repeat of a claim is another one, which names it: workers do that.
    claim: (request, options) => api.claim(request, options),
    report: (request, options) => repeat((given) => api.report(request, given), options),
    renew: (request, options) => repeat((given) => api.renew(request, given), options),
    signal: (request, options) => repeat((given) => api.signal(request, given), options),
    watch: (request, options) => repeat((given) => api.watch(request, given), options),
    find: (request, options) => repeat((given) => api.find(request, given), options),
    read: (request, options) => repeat((given) => api.read(request, given), options),
  };
}
