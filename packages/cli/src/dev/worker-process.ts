/**
 * The process in which `aiki dev` runs a worker. It is not the server's process, so user code cannot block the server.
 */

import { client } from "@aikirun/client";
import { consoleLogger, isAikiError } from "@aikirun/lib";
import { describeError } from "@aikirun/lib/internal";
import { worker } from "@aikirun/worker";
import { surviveOutputErrors } from "../terminal.ts";
import { buildIdOf } from "./build-id.ts";
import { loadWorkflows } from "./load.ts";
import type { FromWorker, ToWorker, WorkerProcessOptions } from "./messages.ts";
import { projectOf } from "./watch.ts";

const aliveMs = 1_000;

const workerOptions: WorkerProcessOptions = JSON.parse(process.argv[2] ?? "");
const logger = consoleLogger({ level: "warn" });

surviveOutputErrors();
// Ctrl-C signals the whole process group; the parent decides when this process ends.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

setInterval(() => send({ type: "alive" }), aliveMs).unref();
try {
  await serve();
} catch (thrown) {
  send({ type: "broken", message: explained(thrown) }, () => process.exit(0));
}

async function serve(): Promise<void> {
  const buildId = buildIdOf(projectOf(workerOptions.file));
  const items = await loadWorkflows(workerOptions.file);
  const aiki = await client({ url: workerOptions.url, logger });
  const aikiWorker = worker(aiki, {
    id: workerOptions.workerId,
    buildId,
    maxConcurrentWorkflowRuns: 10,
    workflowRun: { heartbeatIntervalMs: workerOptions.heartbeatIntervalMs },
  });
  aikiWorker.registry.addMany(items);
  const stop = async () => {
    await aikiWorker.stop();
    await aiki.close();
    process.exit(0);
  };
  process.on("message", (message: ToWorker) => {
    if (message.type === "stop") void stop();
  });
  // The parent process has ended.
  process.on("disconnect", () => void stop());
  await aikiWorker.start();
  send({ type: "ready", serves: aikiWorker.registry.serves().map(({ name, versionId }) => `${name}@${versionId}`) });
}

function send(message: FromWorker, then: () => void = () => {}): void {
  if (process.connected) process.send?.(message, then);
  else then();
}

function explained(thrown: unknown): string {
  if (isAikiError(thrown)) return `${thrown.code}: ${thrown.message}`;
  const { name, message, stack } = describeError(thrown);
  return stack ?? `${name}: ${message}`;
}
