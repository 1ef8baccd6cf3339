import { relative } from "node:path";
import { client } from "@aikirun/client";
import { consoleLogger, type Duration, isAikiError, type Logger } from "@aikirun/lib";
import { describeError, toMs } from "@aikirun/lib/internal";
import { jsonLogger } from "@aikirun/server";
import { type WorkerParams, worker } from "@aikirun/worker";
import type { Registrable } from "@aikirun/workflow/internal";
import { CommandError } from "./command-error.ts";
import { loadWorkflows, moduleFile } from "./dev/load.ts";
import type { Terminal } from "./terminal.ts";
import { plain } from "./text.ts";
import { untilSignal } from "./until-signal.ts";
import { variable } from "./variables.ts";

export interface WorkerCommandOptions {
  url: string;
  id?: string;
  concurrency: number;
  shard?: string[];
  buildId?: string;
  shutdownTimeout: Duration;
  json?: boolean;
}

/** Serves the workflows that a file exports, from a server in another process, until a signal stops the worker. */
export async function workerCommand(file: string, options: WorkerCommandOptions, terminal: Terminal): Promise<void> {
  const { url, json } = options;
  const path = moduleFile(file);
  const asJson = json === true || variable("NODE_ENV") === "production";
  const logger: Logger = asJson ? jsonLogger() : consoleLogger({ level: "warn" });
  const stop = untilSignal();
  const items = await load(path, terminal);
  const apiKey = variable("AIKI_API_KEY");
  const aiki = await client({ url, logger, ...(apiKey === undefined ? {} : { apiKey }) });
  const aikiWorker = worker(aiki, paramsOf(options));
  try {
    aikiWorker.registry.addMany(items);
    const signal = await Promise.race([stop, aikiWorker.start()]);
    const serves = aikiWorker.registry.serves().map(({ name, versionId }) => `${name}@${versionId}`);
    if (asJson) logger.info("ready", { worker: aikiWorker.id, url, serves });
    else if (signal === undefined) {
      const name = plain(relative(process.cwd(), path));
      terminal.note(`${terminal.paint("green", "ready")}  worker ${aikiWorker.id} on ${url}`);
      terminal.note(`       ${name} serves ${serves.map(plain).join(", ")}. Ctrl-C stops the worker.`);
    }
    const received = await stop;
    if (asJson) logger.info("stopping", { signal: received });
    else terminal.note("Stopping: the worker finishes running tasks and records their results.");
  } finally {
    await aikiWorker.stop();
    await aiki.close();
  }
}

/** Loads TypeScript without a build. Prints an error of the user's code with its stack. */
async function load(path: string, terminal: Terminal): Promise<Registrable[]> {
  const [commonJs, modules] = await Promise.all([import("tsx/cjs/api"), import("tsx/esm/api")]);
  commonJs.register();
  modules.register();
  try {
    return await loadWorkflows(path);
  } catch (thrown) {
    if (isAikiError(thrown)) throw thrown;
    const { message, stack = message } = describeError(thrown);
    for (const line of stack.split("\n").slice(0, 12)) terminal.err(plain(line));
    throw new CommandError(1, `${path} cannot be loaded.`);
  }
}

function paramsOf({ id, concurrency, shard, buildId, shutdownTimeout }: WorkerCommandOptions): WorkerParams {
  return {
    maxConcurrentWorkflowRuns: concurrency,
    gracefulShutdownTimeoutMs: toMs(shutdownTimeout),
    ...(id === undefined ? {} : { id }),
    ...(shard === undefined ? {} : { shardKeys: shard }),
    ...(buildId === undefined ? {} : { buildId }),
  };
}
