import type { Client } from "@aikirun/client";
import type { RunId } from "@aikirun/lib/protocol";
import { CommandError, usageError } from "../command-error.ts";
import { tableLines } from "../listing.ts";
import type { Terminal } from "../terminal.ts";
import { amountOf, counted } from "../text.ts";
import type { Act } from "./bulk.ts";
import { readViews } from "./journals.ts";
import { runTable } from "./run-table.ts";

/** How many of the runs are shown before the question. */
const samples = 10;
/** For more runs, the user types their number instead of `y`. */
const fewRuns = 100;

/**
 * Shows some of the runs and their number, and asks whether to act on them. Throws if the user does not confirm it, and
 * if there is no terminal to ask on.
 */
export async function confirm(aiki: Client, act: Act, ids: readonly RunId[], terminal: Terminal): Promise<void> {
  const runs = counted(ids.length, "run");
  const views = await readViews(aiki, ids.slice(0, samples));
  const footnote = ids.length > samples ? `and ${amountOf(ids.length - samples)} more` : undefined;
  for (const line of tableLines({ ...runTable(views), footnote }, terminal)) terminal.err(line);
  const isMany = ids.length > fewRuns;
  const how = isMany ? `Type ${ids.length} to ${act} ${runs}: ` : `${act} ${runs}? [y/N] `;
  const answer = await terminal.ask(how);
  if (answer === null) throw usageError(`${runs} would be affected. Pass --yes to ${act} them without a question.`);
  const expected = isMany ? [String(ids.length), amountOf(ids.length)] : ["y", "yes"];
  if (!expected.includes(answer.trim().toLowerCase())) throw new CommandError(1, "Not confirmed. Nothing was changed.");
}
