import { holderOf } from "../core/claim.ts";
import type { Command, DecisionContext, Run } from "../core/run.ts";
import { isWorkerCheckDue } from "../core/tick.ts";
import type { RegisteredWorker } from "../storage/registered-worker.ts";
import type { Reader } from "../storage/storage.ts";

type Tick = Extract<Command, { type: "tick" }>;

/** Adds to a tick whether the worker that suspended the run is alive, if that is to be checked. */
export function holders(
  reader: Pick<Reader, "workers">,
  { now }: DecisionContext,
): (run: Run, tick: Tick) => Promise<Tick> {
  const live = new Map<string, Promise<RegisteredWorker[]>>();
  return async ({ namespace, state }, tick) => {
    if (!isWorkerCheckDue(state, now)) {
      return tick;
    }
    const workers = live.get(namespace) ?? reader.workers(namespace, now);
    live.set(namespace, workers);
    const holder = holderOf(state);
    return { ...tick, isHolderAlive: (await workers).some(({ session }) => session === holder) };
  };
}
