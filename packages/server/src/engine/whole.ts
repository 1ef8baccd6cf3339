/** Loads what was left in storage when rows and entries were loaded. */

import { limits, type RunId } from "@aikirun/lib/protocol";
import { isFinal } from "../core/draft.ts";
import type { Command, Outline, Run, WholeRun } from "../core/run.ts";
import { isUnread, isWhole, type Payloads, wholeRun } from "../core/unread.ts";
import { storedBytes } from "../storage/entry-row.ts";
import type { Reader } from "../storage/storage.ts";

/** The same runs with all their payloads. Executes one statement, or none. */
export async function whole(reader: Pick<Reader, "payloads">, runs: readonly Run[]): Promise<WholeRun[]> {
  const unread = runs.filter((run) => !isWhole(run)).map(({ id }) => id);
  const payloads = unread.length === 0 ? new Map<RunId, Payloads>() : await reader.payloads(unread);
  return runs.map((run) => wholeRun(withPayloads(run, payloads.get(run.id))));
}

/** All of these runs with their payloads, at a time as many as fit into `limits.replyBytes`, or a single one. */
export async function* wholeInTurn(
  reader: Pick<Reader, "payloads">,
  runs: readonly Run[],
): AsyncGenerator<readonly WholeRun[]> {
  let some: Run[] = [];
  let bytes = 0;
  for (const run of runs) {
    const more = unreadBytes(run);
    if (some.length > 0 && bytes + more > limits.replyBytes) {
      yield await whole(reader, some);
      some = [];
      bytes = 0;
    }
    some.push(run);
    bytes += more;
  }
  yield await whole(reader, some);
}

/** The size of payloads that are left in storage. */
function unreadBytes({ input, state }: Run): number {
  const payloads = [input, state.status === "completed" ? state.output : null];
  return payloads.reduce((sum, payload) => sum + (isUnread(payload) ? payload.bytes : 0), 0);
}

function withPayloads(run: Run, payloads: Payloads | undefined): Run {
  if (payloads === undefined) {
    return run;
  }
  const { input, output } = payloads;
  const state = output !== null && run.state.status === "completed" ? { ...run.state, output } : run.state;
  return { ...run, input, state };
}

/** Adds to the retry of an ended run the input for the new run. */
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

/** Loads the values that may equal those of the report, because they have the same size; so not more than it has. */
export async function withValues(
  reader: Pick<Reader, "journal">,
  command: Command,
  known: Outline[],
): Promise<Outline[]> {
  const bytes = new Map<string, number>();
  for (const { address, value } of command.type === "report" ? command.report.entries : []) {
    if (value.type !== "retrying") bytes.set(address, storedBytes(value));
  }
  const alike = known.filter(({ address, value }) => value.type === "unread" && value.bytes === bytes.get(address));
  const requests = alike.map(({ runId, seq }) => ({ runId, after: seq - 1, limit: 1, bytes: 0 }));
  const read = requests.length === 0 ? [] : (await reader.journal(requests)).flat();
  const bySeq = new Map(read.map((entry) => [entry.seq, entry]));
  return known.map((entry) => bySeq.get(entry.seq) ?? entry);
}
