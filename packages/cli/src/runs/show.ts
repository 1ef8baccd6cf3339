import type { Terminal } from "../terminal.ts";
import { timeline } from "../timeline.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { followRun } from "./follow.ts";
import { readRun } from "./journals.ts";
import { factsOf, stackOf } from "./run-facts.ts";
import { resolveRun } from "./run-id.ts";

export interface ShowOptions extends ServerOptions {
  /** Whether to print what is recorded from now on too, until the run ends. */
  follow?: boolean;
}

export async function showRun(prefix: string, options: ShowOptions, terminal: Terminal): Promise<void> {
  await connected(options, async (aiki) => {
    const runId = await resolveRun(aiki, prefix, terminal);
    if (options.follow === true) {
      await followRun(aiki, runId, options, terminal);
      return;
    }
    const { run, entries } = await readRun(aiki, runId);
    const lines =
      options.json === true
        ? [JSON.stringify({ run, entries })]
        : [...factsOf(run), "", ...timeline(run, entries, terminal.paint), ...stackOf(run)];
    for (const line of lines) terminal.out(line);
  });
}
