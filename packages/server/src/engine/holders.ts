import { holderOf } from "../core/claim.ts";
import type { Command, Moment, Run } from "../core/run.ts";
import { isUnsettled } from "../core/tick.ts";
import type { Sighting } from "../storage/sighting.ts";
import type { Reader } from "../storage/storage.ts";

/** Completes a tick that is about to look whether the worker that suspended the run is alive. */
export function holders(
  reader: Pick<Reader, "workers">,
  { now }: Moment,
): (run: Run, command: Command) => Promise<Command> {
  const live = new Map<string, Promise<Sighting[]>>();
  return async ({ namespace, state }, command) => {
    if (command.type !== "tick" || !isUnsettled(state, now)) {
      return command;
    }
    const workers = live.get(namespace) ?? reader.workers(namespace, now);
    live.set(namespace, workers);
    const holder = holderOf(state);
    return { ...command, isHolderAlive: (await workers).some(({ session }) => session === holder) };
  };
}
