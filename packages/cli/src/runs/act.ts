import type { Terminal } from "../terminal.ts";
import { connected, type ServerOptions } from "./connect.ts";

export type Act = "cancel" | "pause" | "resume" | "wake" | "retry";

/** Does one thing to one run and says how it stands afterwards. */
export async function actOnRun(
  act: Act,
  runId: string,
  reason: string | undefined,
  options: ServerOptions,
  terminal: Terminal,
): Promise<void> {
  const after = await connected(options, async (aiki) => {
    const handle = aiki.runs.get(runId);
    const moved = act === "retry" ? await handle.retry() : handle;
    if (act === "cancel") await handle.cancel(reason);
    else if (act !== "retry") await handle[act]();
    return moved.view();
  });
  if (options.json === true) {
    terminal.out(JSON.stringify(after));
    return;
  }
  const anew = after.id === runId ? "" : " (a new run that recalls what succeeded)";
  terminal.out(`${after.id} is ${after.status}${anew}. ${after.explanation}`);
}
