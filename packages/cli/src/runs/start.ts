import type { Client } from "@aikirun/client";
import type { Duration, StartOptions } from "@aikirun/lib";
import { present } from "@aikirun/lib/internal";
import { workflow } from "@aikirun/workflow";
import { usageError } from "../command-error.ts";
import { payloadOf } from "../payload.ts";
import type { Terminal } from "../terminal.ts";
import { plain } from "../text.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { followRun } from "./follow.ts";

export interface StartRunOptions extends ServerOptions {
  /** JSON, `@` and the name of a file, or `-` for standard input. */
  input?: string;
  reference?: string;
  /** What happens if the reference exists with another input. */
  onConflict?: "error" | "return_existing";
  shard?: string;
  tag?: string[];
  priority?: number;
  at?: Date;
  delay?: Duration;
  timeout?: Duration;
  /** Whether to print what is recorded until the run ends. */
  follow?: boolean;
}

/** Starts a run of `NAME@VERSION` and prints it. */
export async function startRun(target: string, options: StartRunOptions, terminal: Terminal): Promise<void> {
  const { json, follow, input: argument } = options;
  const input = argument === undefined ? undefined : await payloadOf(argument, "--input", terminal);
  await connected(options, async (aiki) => {
    const { name, versionId } = await versionOf(aiki, target);
    const version = workflow({ name }).v(versionId, { handler: async (_run, _input: unknown) => undefined });
    const handle = await version.start(aiki, input, startOptions(options));
    if (follow === true) {
      await followRun(aiki, handle.id, options, terminal);
      return;
    }
    const run = await handle.view();
    const started = plain(`${run.name}@${run.versionId}`);
    terminal.out(
      json === true ? JSON.stringify(run) : `Run ${run.id} of ${started} is ${run.status}. ${plain(run.explanation)}`,
    );
  });
}

function startOptions(options: StartRunOptions): StartOptions {
  const { reference, onConflict, shard, tag, priority, at, delay, timeout } = options;
  return present({
    referenceId: reference,
    onConflict,
    shardKey: shard,
    tags: tag,
    priority,
    at,
    delay,
    timeout,
  });
}

/** The name and the version of `NAME@VERSION`. For `NAME`, the only version that live workers serve. */
async function versionOf(aiki: Client, target: string): Promise<{ name: string; versionId: string }> {
  const at = target.lastIndexOf("@");
  if (at > 0 && at < target.length - 1) return { name: target.slice(0, at), versionId: target.slice(at + 1) };
  if (at === target.length - 1) throw usageError(`${plain(target)} has no version after the @.`);
  const serves = (await aiki.workers.list()).flatMap((worker) => worker.serves);
  const versions = [...new Set(serves.filter(({ name }) => name === target).map(({ versionId }) => versionId))];
  const [only] = versions;
  if (only !== undefined && versions.length === 1) return { name: target, versionId: only };
  const found =
    only === undefined
      ? "no live worker serves it"
      : `live workers serve ${versions.map((versionId) => `${target}@${versionId}`).join(", ")}`;
  throw usageError(`Name the version to start, ${plain(target)}@VERSION: ${found}.`);
}
