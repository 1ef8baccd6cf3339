import { payloadOf } from "../payload.ts";
import type { Terminal } from "../terminal.ts";
import { plain } from "../text.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { resolveRun } from "./run-id.ts";

export interface SendEventOptions extends ServerOptions {
  /** The sender's own id of the event. */
  reference?: string;
}

/** Sends an event to a run and prints the status of the run afterwards. */
export async function sendEvent(
  prefix: string,
  name: string,
  argument: string | undefined,
  options: SendEventOptions,
  terminal: Terminal,
): Promise<void> {
  const { json, reference } = options;
  const event = argument === undefined ? undefined : await payloadOf(argument, "The data of the event", terminal);
  const run = await connected(options, async (aiki) => {
    const handle = aiki.runs.get(await resolveRun(aiki, prefix, terminal));
    await handle.events[name]?.send(event, reference === undefined ? {} : { referenceId: reference });
    return handle.view();
  });
  terminal.out(
    json === true
      ? JSON.stringify(run)
      : `Sent the event ${plain(name)} to ${run.id}, which is ${run.status}. ${plain(run.explanation)}`,
  );
}
