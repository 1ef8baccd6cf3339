import type { Env } from "@aikirun/lib";
import { pause } from "@aikirun/lib/internal";
import type { AdaptivePolling, Polling } from "./strategy.ts";
import type { PollResult, Subscriber } from "./subscriber.ts";

/** The length of a long poll; proxies commonly end requests after 60 s. Milliseconds. */
const longPollMs = 25_000;

/** Claims at a fixed interval while no run is ready; the server answers at once. */
export function polling({ intervalMs }: Required<Pick<Polling, "intervalMs">>, env: Env): Subscriber {
  return paced(env, 0, ({ runs }) => (runs > 0 ? 0 : intervalMs));
}

/** How the pauses of adaptive polling grow. */
export type Growth = Required<
  Pick<
    AdaptivePolling,
    "minPollIntervalMs" | "maxPollIntervalMs" | "backoffMultiplier" | "emptyPollThreshold" | "jitterFactor"
  >
>;

/** Long-polls. While the server's answers are immediate and empty, the pauses between the claims grow. */
export function adaptivePolling(growth: Growth, env: Env, waitMs: number = longPollMs): Subscriber {
  let empties = 0;
  return paced(env, waitMs, ({ runs, waitedMs }) => {
    empties = runs > 0 ? 0 : empties + 1;
    if (runs > 0 || waitedMs >= waitMs / 2) {
      return 0;
    }
    const factor = growth.backoffMultiplier ** Math.max(0, empties - Math.max(1, growth.emptyPollThreshold));
    const full = Math.min(growth.maxPollIntervalMs, growth.minPollIntervalMs * factor);
    return full * (1 - growth.jitterFactor * env.random());
  });
}

/**
 * Claims again after a pause that depends on the last result; without a pause when the worker serves other workflows.
 */
function paced(
  env: Env,
  waitMs: number,
  pauseAfter: (result: Extract<PollResult, { type: "claimed" }>) => number,
): Subscriber {
  let pauseMs = 0;
  return {
    async next(_, signal) {
      const ms = pauseMs;
      pauseMs = 0;
      if (ms > 0) {
        await pause(env, ms, signal);
      }
      return {
        waitMs,
        settled(result) {
          pauseMs = result.type === "claimed" ? pauseAfter(result) : 0;
        },
      };
    },
    close: async () => {},
  };
}
