import { pause } from "@aikirun/client/internal";
import type { Env } from "@aikirun/lib";
import type { AdaptivePolling, Polling } from "./strategy.ts";
import type { Answer, Subscriber } from "./subscriber.ts";

/** Proxies commonly cut requests at 60 s. Milliseconds. */
const longPollMs = 25_000;

/** Asks at a fixed interval while there is nothing to do; the server never holds the question. */
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

/** A server that holds questions makes the pauses; one that answers empty at once is asked less and less often. */
export function adaptivePolling(growth: Growth, env: Env, waitMs: number = longPollMs): Subscriber {
  let empties = 0;
  return paced(env, waitMs, ({ runs, heldMs }) => {
    empties = runs > 0 ? 0 : empties + 1;
    if (runs > 0 || heldMs >= waitMs / 2) {
      return 0;
    }
    const factor = growth.backoffMultiplier ** Math.max(0, empties - Math.max(1, growth.emptyPollThreshold));
    const full = Math.min(growth.maxPollIntervalMs, growth.minPollIntervalMs * factor);
    return full * (1 - growth.jitterFactor * env.random());
  });
}

/** Asks again after a pause that depends on the last answer; what is served from now on is asked for at once. */
function paced(
  env: Env,
  waitMs: number,
  pauseAfter: (answer: Extract<Answer, { type: "answered" }>) => number,
): Subscriber {
  let restMs = 0;
  return {
    async next(_, signal) {
      const ms = restMs;
      restMs = 0;
      if (ms > 0) {
        await pause(env, ms, signal);
      }
      return {
        waitMs,
        settled(answer) {
          restMs = answer.type === "answered" ? pauseAfter(answer) : 0;
        },
      };
    },
    close: async () => {},
  };
}
