import type { Why } from "@aikirun/lib/protocol";
import { connected, type ServerOptions } from "./runs/connect.ts";
import { resolveRun } from "./runs/run-id.ts";
import type { Terminal } from "./terminal.ts";
import { plain } from "./text.ts";
import { statusStyle } from "./timeline.ts";

/** Prints why a run does not move; one paragraph for the run and for each child in the chain. */
export async function whyCommand(prefix: string, options: ServerOptions, terminal: Terminal): Promise<void> {
  const why = await connected(options, async (aiki) => {
    return aiki.runs.get(await resolveRun(aiki, prefix, terminal)).why();
  });
  if (options.json === true) {
    terminal.out(JSON.stringify(why));
    return;
  }
  for (const line of linesOf(why, terminal)) terminal.out(line);
}

function linesOf({ links }: Why, { paint }: Terminal): string[] {
  return links.flatMap(({ runId, name, versionId, status, text }, depth) => {
    const indent = "  ".repeat(depth);
    return [
      `${indent}${runId} ${plain(`${name}@${versionId}`)} ${paint(statusStyle(status), status)}`,
      `${indent}  ${plain(text)}`,
    ];
  });
}
