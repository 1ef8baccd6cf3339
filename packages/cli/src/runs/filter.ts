import type { Client, RunFilter } from "@aikirun/client";
import { present } from "@aikirun/lib/internal";
import type { RunStatus } from "@aikirun/lib/protocol";
import { type Command, Option } from "commander";
import { moment, repeated, statuses } from "../options.ts";
import type { Terminal } from "../terminal.ts";
import { resolveRun, runReference } from "./run-id.ts";

/** Options that select runs: a run must meet all of them. */
export interface FilterOptions {
  name?: string;
  versionId?: string;
  status?: RunStatus[];
  tag?: string[];
  reference?: string;
  shard?: string;
  errorCode?: string;
  /** The id of a run, or the beginning of it. */
  parent?: string;
  createdAfter?: Date;
  createdBefore?: Date;
}

/** Adds the options that select runs. */
export function addFilters(command: Command): Command {
  return command
    .option("--name <workflow>", "of this workflow")
    .option("--version-id <version>", "of this version of their workflow")
    .addOption(new Option("--status <statuses>", "in these statuses, with commas between them").argParser(statuses))
    .addOption(
      new Option("--tag <tag>", "with this tag; repeat it for runs with all of several tags").argParser(repeated),
    )
    .option("--reference <id>", "with this reference id")
    .option("--shard <key>", "with this shard key")
    .option("--error-code <code>", "that failed with an error of this code")
    .addOption(new Option("--parent <run>", "that are children of this run").argParser(runReference))
    .addOption(new Option("--created-after <time>", "created at this time or later").argParser(moment))
    .addOption(new Option("--created-before <time>", "created before this time").argParser(moment));
}

/** The option that orders runs. */
export function orderOption(): Option {
  return new Option("--order <order>", "the order by time of creation").choices(["newest", "oldest"]).default("newest");
}

/** Whether one of the options selects runs. */
export function isFiltered(options: FilterOptions): boolean {
  return Object.keys(present(conditionsOf(options))).length > 0;
}

/** The filter that the options describe. Throws `RUN_NOT_FOUND` and `AMBIGUOUS_RUN` for the parent. */
export async function filterOf(aiki: Client, options: FilterOptions, terminal: Terminal): Promise<RunFilter> {
  const { parentId, ...conditions } = conditionsOf(options);
  const parent = parentId === undefined ? {} : { parentId: await resolveRun(aiki, parentId, terminal) };
  return { ...present(conditions), ...parent };
}

function conditionsOf(options: FilterOptions) {
  const { name, versionId, status, tag, reference, shard, errorCode, parent, createdAfter, createdBefore } = options;
  return {
    name,
    versionId,
    status,
    tags: tag,
    referenceId: reference,
    shardKey: shard,
    errorCode,
    parentId: parent,
    createdAfter,
    createdBefore,
  };
}
