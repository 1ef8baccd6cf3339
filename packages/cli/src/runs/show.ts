import type { Client } from "@aikirun/client";
import { AikiError } from "@aikirun/lib";
import type { Entry, Failure, RunView } from "@aikirun/lib/protocol";
import type { Terminal } from "../terminal.ts";
import { plain } from "../text.ts";
import { timeline } from "../timeline.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { resolveRun } from "./run-id.ts";

const pageSize = 1_000;

export async function showRun(prefix: string, options: ServerOptions, terminal: Terminal): Promise<void> {
  const { run, entries } = await connected(options, async (aiki) =>
    readRun(aiki, await resolveRun(aiki, prefix, terminal)),
  );
  if (options.json === true) {
    terminal.out(JSON.stringify({ run, entries }));
    return;
  }
  for (const line of [...factsOf(run), "", ...timeline(run, entries, terminal.paint), ...stackOf(run)])
    terminal.out(line);
}

/** A run with its whole journal. Throws `RUN_NOT_FOUND`. */
async function readRun({ api }: Client, runId: string): Promise<{ run: RunView; entries: Entry[] }> {
  const entries: Entry[] = [];
  for (;;) {
    const after = entries.at(-1)?.seq ?? 0;
    const [result] = (await api.read({ runs: [{ runId, entries: { after, limit: pageSize } }] })).results;
    if (result === undefined)
      throw new AikiError("BAD_REPLY", "The reply of the server has no result for this run.", { ids: { runId } });
    if (!result.ok) throw new AikiError(result.code, result.message, { ids: { runId } });
    entries.push(...result.entries);
    if (!result.more) return { run: result.run, entries };
  }
}

function factsOf(run: RunView): string[] {
  const facts: Array<[string, string | undefined]> = [
    ["run", run.id],
    ["reference", run.referenceId],
    ["attempt", run.attempt > 1 ? String(run.attempt) : undefined],
    ["parent", run.parent?.id],
    ["retry of", run.retryOf],
    ["shard", run.shardKey],
    ["tags", run.tags.length > 0 ? run.tags.join(", ") : undefined],
    ["now", run.explanation],
  ];
  return facts.flatMap(([label, value]) => (value === undefined ? [] : [`${label.padEnd(10)} ${plain(value)}`]));
}

function stackOf({ outcome }: RunView): string[] {
  if (outcome?.status !== "failed") return [];
  const lines: string[] = [""];
  for (let link: Failure | undefined = outcome.error; link !== undefined; link = link.cause) {
    const text = link.stack ?? `${link.name}: ${link.message}`;
    const intro = link === outcome.error ? "" : "caused by ";
    lines.push(...`${intro}${text}`.split("\n").slice(0, 12).map(plain));
  }
  return lines;
}
