import type { Env } from "@aikirun/lib";
import { batcher } from "@aikirun/lib/internal";
import { type Api, limits, type RunId, type Signal, type SignalItem, type SignalResult } from "@aikirun/lib/protocol";
import { rejected } from "./rejected.ts";

/** Resolves when the signal is recorded, with the id of the run: the retry of an ended run starts a new run. */
export type Signals = (runId: RunId, signal: Signal) => Promise<RunId>;

/** Sends signals. Signals sent while a request is in progress go together in the next one, in order. */
export function signals(api: Api, env: Env): Signals {
  const send = batcher<SignalItem, SignalResult>({
    send: async (items) => (await api.signal({ signals: items })).results,
    max: limits.batchItems,
    weigh: ({ signal }) => 1_000 + (signal.type === "event" ? 4 * (signal.data?.length ?? 0) : 0),
    maxWeight: limits.requestBytes,
  });
  return async (runId, signal) => {
    const result = await send({ signalId: env.id(), runId, signal });
    if (!result.ok) {
      throw rejected(result, { runId });
    }
    return result.runId;
  };
}
