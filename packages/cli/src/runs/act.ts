import type { Terminal } from "../terminal.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { resolveRun } from "./run-id.ts";

export type Act = "cancel" | "pause" | "resume" | "wake" | "retry";

/** Performs one action on a run and prints its status afterwards. */
export async function actOnRun(
  act: Act,
  prefix: string,
  reason: string | undefined,
  options: ServerOptions,
  terminal: Terminal,
): Promise<void> {
  const { runId, after } = await connected(options, async (aiki) => {
    const handle = aiki.runs.get(await resolveRun(aiki, prefix, terminal));
    const moved = act === "retry" ? await handle.retry() : handle;
    if (act === "cancel") await handle.cancel(reason);
    else if (act !== "retry") await handle[act]();
    return { runId: handle.id, after: await moved.view() };
  });
  if (options.json === true) {
    terminal.out(JSON.stringify(after));
    return;
  }
  const note = after.id === runId ? "" : " (a new run that reuses what succeeded)";
  terminal.out(`${after.id} is ${after.status}${note}. ${after.explanation}`);
}
