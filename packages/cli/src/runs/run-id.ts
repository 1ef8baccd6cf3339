import type { Client } from "@aikirun/client";
import { AikiError } from "@aikirun/lib";
import { isRunIdPrefix, runIdForm } from "@aikirun/lib/internal";
import type { RunId, RunView } from "@aikirun/lib/protocol";
import { Argument, InvalidArgumentError } from "commander";
import { tableLines } from "../listing.ts";
import type { Terminal } from "../terminal.ts";
import { counted } from "../text.ts";
import { runTable } from "./run-table.ts";

/** How many of the matching runs an error lists. */
const listed = 10;

/** The argument that names a run. */
export function runArgument(): Argument {
  return new Argument("<run>", "its id, or the beginning of it").argParser(runReference);
}

/** The argument that names any number of runs. */
export function runsArgument(): Argument {
  return new Argument("[runs...]", "their ids, or the beginnings of them").argParser((text, earlier: string[] = []) => [
    ...earlier,
    runReference(text),
  ]);
}

/** Parses the id of a run or the beginning of one, in either case. */
export function runReference(text: string): string {
  const prefix = text.trim().toLowerCase();
  if (isRunIdPrefix(prefix)) return prefix;
  throw new InvalidArgumentError(
    "The id of a run, or its beginning, has hexadecimal digits and dashes: 01890a5d-ac9b.",
  );
}

/**
 * The id that begins with this text. Throws `RUN_NOT_FOUND`, and `AMBIGUOUS_RUN` after it has listed the runs whose ids
 * begin with it.
 */
export async function resolveRun(aiki: Client, prefix: string, terminal: Terminal): Promise<RunId> {
  if (runIdForm.test(prefix)) return prefix;
  const matches: RunView[] = [];
  for await (const run of aiki.runs.list({ idPrefix: prefix, limit: listed + 1 })) {
    matches.push(run);
    if (matches.length > listed) break;
  }
  const [only] = matches;
  if (only === undefined) {
    throw new AikiError("RUN_NOT_FOUND", `No run has an id that begins with ${prefix}.`, { ids: { runId: prefix } });
  }
  if (matches.length === 1) return only.id;
  for (const line of tableLines(runTable(matches.slice(0, listed)), terminal)) terminal.err(line);
  const amount = matches.length > listed ? `More than ${listed} runs` : counted(matches.length, "run");
  throw new AikiError("AMBIGUOUS_RUN", `${amount} have an id that begins with ${prefix}. Write more of the id.`, {
    ids: { runId: prefix },
  });
}
