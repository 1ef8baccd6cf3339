import type { AnyEvents, Client } from "@aikirun/client";
import type { RunHandle } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import { usageError } from "../command-error.ts";
import type { Terminal } from "../terminal.ts";
import { plain } from "../text.ts";
import { type Act, type ActedRuns, actOnEach } from "./bulk.ts";
import { confirm } from "./confirm.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { type FilterOptions, filterOf, isFiltered } from "./filter.ts";
import { matchingIds } from "./matching.ts";
import { resolveRun } from "./run-id.ts";

export interface ActOptions extends ServerOptions, FilterOptions {
  /** Why runs are cancelled or paused, recorded with it. */
  reason?: string;
  /** Do not ask for confirmation. */
  yes?: boolean;
}

type Handle = RunHandle<unknown, AnyEvents>;

/** Performs one action on the runs that are named, or on those that match the filters. */
export async function actOnRuns(
  act: Act,
  prefixes: readonly string[],
  options: ActOptions,
  terminal: Terminal,
): Promise<void> {
  const filtered = isFiltered(options);
  if (filtered && prefixes.length > 0) {
    throw usageError(`Name the runs to ${act}, or select them with filters; both together are not possible.`);
  }
  const [prefix] = prefixes;
  if (prefix === undefined && !filtered) {
    throw usageError(`Name the runs to ${act}, or select them with filters such as --status or --name.`);
  }
  await connected(options, async (aiki) => {
    if (prefix === undefined) await actOnFiltered(aiki, act, options, terminal);
    else if (prefixes.length === 1) await actOnOne(aiki, act, prefix, options, terminal);
    else await actOnNamed(aiki, act, prefixes, options, terminal);
  });
}

/** Prints the status of the run after the action. */
async function actOnOne(
  aiki: Client,
  act: Act,
  prefix: string,
  { json, reason }: ActOptions,
  terminal: Terminal,
): Promise<void> {
  const handle = aiki.runs.get(await resolveRun(aiki, prefix, terminal));
  const moved = await acted(handle, act, reason);
  const after = await moved.view();
  const note = after.id === handle.id ? "" : " (a new run that reuses what succeeded)";
  terminal.out(
    json === true ? JSON.stringify(after) : `${after.id} is ${after.status}${note}. ${plain(after.explanation)}`,
  );
}

async function actOnNamed(
  aiki: Client,
  act: Act,
  prefixes: readonly string[],
  options: ActOptions,
  terminal: Terminal,
): Promise<void> {
  const ids = new Set<RunId>();
  for (const prefix of prefixes) ids.add(await resolveRun(aiki, prefix, terminal));
  await actOnMany(aiki, act, [...ids], undefined, options, terminal);
}

async function actOnFiltered(aiki: Client, act: Act, options: ActOptions, terminal: Terminal): Promise<void> {
  const filter = await filterOf(aiki, options, terminal);
  const ids = await matchingIds(aiki, filter, terminal);
  await actOnMany(aiki, act, ids, options.status, options, terminal);
}

async function actOnMany(
  aiki: Client,
  act: Act,
  ids: readonly RunId[],
  statuses: ActOptions["status"],
  options: ActOptions,
  terminal: Terminal,
): Promise<void> {
  if (ids.length > 0 && options.yes !== true) await confirm(aiki, act, ids, terminal);
  const request: ActedRuns = { ids, statuses, act: (handle) => acted(handle, act, options.reason) };
  await actOnEach(aiki, request, act, options, terminal);
}

/** The handle of the run after the action: of a new run, if an ended one was retried. */
async function acted(handle: Handle, act: Act, reason: string | undefined): Promise<Handle> {
  if (act === "retry") return handle.retry();
  if (act === "cancel" || act === "pause") await handle[act](reason);
  else await handle[act]();
  return handle;
}
