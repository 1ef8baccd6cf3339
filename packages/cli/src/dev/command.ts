import { relative } from "node:path";
import { consoleLogger } from "@aikirun/lib";
import type { RunView } from "@aikirun/lib/protocol";
import { type Server, server, withoutPassword } from "@aikirun/server";
import type { Terminal } from "../terminal.ts";
import { counted, plain, spanOf } from "../text.ts";
import { untilSignal } from "../until-signal.ts";
import { moduleFile } from "./load.ts";
import { Supervisor, type SupervisorListener } from "./supervisor.ts";
import { projectOf, watchSources } from "./watch.ts";

export interface DevOptions {
  port: number;
  database: string;
  watchdog: boolean;
}

/** Short, so that a run continues soon after its worker was killed. A lease is three such intervals. Milliseconds. */
const heartbeatIntervalMs = 2_000;
const silenceLimitMs = 3 * heartbeatIntervalMs;

/**
 * Runs a server in this process and a worker in another process, until a signal arrives. Restarts the worker when a
 * source changes.
 */
export async function devCommand(file: string, options: DevOptions, terminal: Terminal): Promise<void> {
  const path = moduleFile(file);
  const logger = consoleLogger({ level: "warn" });
  const aikiServer = await server({ database: options.database, port: options.port, logger });
  try {
    const { url } = await aikiServer.listen();
    terminal.note(
      `${terminal.paint("bold", "aiki dev")}  server on ${url}, runs stored in ${withoutPassword(options.database)}`,
    );
    await superviseUntilSignal(path, url, aikiServer, options, terminal);
  } finally {
    await aikiServer.close();
  }
}

async function superviseUntilSignal(
  file: string,
  url: string,
  aikiServer: Server,
  options: DevOptions,
  terminal: Terminal,
): Promise<void> {
  const supervisor = new Supervisor({
    workerOptions: { url, file, heartbeatIntervalMs },
    silenceLimitMs: options.watchdog ? silenceLimitMs : null,
    listener: listenerOf(file, aikiServer, terminal),
  });
  const stop = untilSignal(() => supervisor.kill());
  const root = projectOf(file);
  const unwatch = watchSources(root, (changed) => {
    terminal.note(`${terminal.paint("cyan", "reload")}    ${plain(relative(root, changed))} changed`);
    void supervisor.restart();
  });
  supervisor.start();
  try {
    await stop;
    terminal.note("Stopping: the worker finishes running tasks and records their results. Ctrl-C again stops at once.");
  } finally {
    unwatch();
    await supervisor.close();
  }
}

function listenerOf(file: string, aikiServer: Server, { note, err, paint }: Terminal): SupervisorListener {
  const name = plain(relative(process.cwd(), file));
  const printHeldRuns = async (workerId: string) => {
    const held = await heldBy(aikiServer, workerId).catch(() => []);
    if (held.length === 0) return;
    const delay = spanOf(silenceLimitMs);
    note(`          its ${counted(held.length, "run")} will continue within ${delay}: ${held.slice(0, 5).join(", ")}`);
  };
  return {
    ready: (serves) => note(`${paint("green", "ready")}     ${name} serves ${serves.map(plain).join(", ")}`),
    broken: (message) => {
      const lines = message.split("\n").slice(0, 12).map(plain);
      err(`${paint("red", "broken")}    ${lines.join("\n          ")}\n          Waiting for a change.`);
    },
    crashed: (workerId, how, againInMs) => {
      err(`${paint("red", "crashed")}   worker ${workerId} ended (${how}); another one starts in ${spanOf(againInMs)}`);
      void printHeldRuns(workerId);
    },
    blocked: (workerId, silentMs) => {
      err(`${paint("red", "blocked")}   worker ${workerId} sent no message for ${spanOf(silentMs)} and is killed:`);
      err("          its code blocks the event loop (if you use a debugger, pass --no-watchdog)");
    },
  };
}

/** `order@1.0.0 <id>` for each run that this worker holds according to the server. */
async function heldBy(aikiServer: Server, workerId: string): Promise<string[]> {
  const runs: RunView[] = [];
  let cursor: string | undefined;
  do {
    const page = await aikiServer.api().find({ status: ["running"], limit: 200, ...(cursor && { cursor }) });
    runs.push(...page.runs);
    cursor = page.cursor;
  } while (cursor !== undefined && runs.length < 200);
  return runs
    .filter(({ worker }) => worker === workerId)
    .map(({ id, name, versionId }) => `${plain(`${name}@${versionId}`)} ${id}`);
}
