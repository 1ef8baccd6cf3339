/** Loads the payloads that were left in storage when rows were loaded. */

import type { RunId } from "@aikirun/lib/protocol";
import { isFinal } from "../core/draft.ts";
import type { Command, Run, WholeRun } from "../core/run.ts";
import { isUnread, isWhole, type Payloads, wholeRun } from "../core/unread.ts";
import type { Reader } from "../storage/storage.ts";

/** The same runs with all their payloads. One statement, or none. */
export async function whole(reader: Pick<Reader, "payloads">, runs: readonly Run[]): Promise<WholeRun[]> {
  const unread = runs.filter((run) => !isWhole(run)).map(({ id }) => id);
  const payloads = unread.length === 0 ? new Map<RunId, Payloads>() : await reader.payloads(unread);
  return runs.map((run) => wholeRun(withPayloads(run, payloads.get(run.id))));
}

function withPayloads(run: Run, payloads: Payloads | undefined): Run {
  if (payloads === undefined) {
    return run;
  }
  const { input, output } = payloads;
  const state = output !== null && run.state.status === "completed" ? { ...run.state, output } : run.state;
  return { ...run, input, state };
}

/** The retry of an ended run, with the input of the run that is begun in its place. */
export async function withInput(
  reader: Pick<Reader, "payloads">,
  { id, input, state }: Run,
  command: Command,
): Promise<Command> {
  if (command.type !== "retry" || !isUnread(input) || !isFinal(state)) {
    return command;
  }
  const payloads = (await reader.payloads([id])).get(id);
  return payloads === undefined || payloads.input === null ? command : { ...command, input: payloads.input };
}
