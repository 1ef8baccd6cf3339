import { createRequire } from "node:module";
import { type RunStatus, runStatuses } from "@aikirun/lib/protocol";
import { Command, InvalidArgumentError, Option } from "commander";
import { devCommand } from "./dev/command.ts";
import { keysProgram } from "./keys/program.ts";
import { migrateCommand } from "./migrate-command.ts";
import { moveCommand } from "./move-command.ts";
import { type Act, actOnRun } from "./runs/act.ts";
import type { ServerOptions } from "./runs/connect.ts";
import { listRuns } from "./runs/list.ts";
import { showRun } from "./runs/show.ts";
import { serverCommand } from "./server-command.ts";
import type { Terminal } from "./terminal.ts";
import { orVariable, readVariables } from "./variables.ts";
import { whyCommand } from "./why-command.ts";
import { workersCommand } from "./workers-command.ts";

const defaultUrl = "http://localhost:9090";

export function createProgram(terminal: Terminal): Command {
  const program = new Command("aiki")
    .description("Durable execution for TypeScript: a server, a development loop, and a look at runs.")
    .version(packageVersion(), "-V, --version")
    .showHelpAfterError("(aiki --help says more)")
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(withoutValue(text.trimEnd())),
    })
    .exitOverride()
    .hook("preAction", (_, command) => readVariables(command));
  program.addCommand(serverProgram(terminal).copyInheritedSettings(program));
  program.addCommand(migrateProgram(terminal).copyInheritedSettings(program));
  program.addCommand(moveProgram(terminal).copyInheritedSettings(program));
  program.addCommand(devProgram(terminal).copyInheritedSettings(program));
  program.addCommand(runsProgram(terminal, program).copyInheritedSettings(program));
  program.addCommand(whyProgram(terminal).copyInheritedSettings(program));
  program.addCommand(workersProgram(terminal).copyInheritedSettings(program));
  program.addCommand(keysProgram(terminal, program, sharedDatabaseOption).copyInheritedSettings(program));
  return program;
}

/** Hides values in errors of the parser: a misspelt option may contain a url, and the url a password. */
function withoutValue(text: string): string {
  return text.replace(/(?<=^error: .*(?:argument|unknown option|unknown command) ').*(?=')/s, (value) =>
    /[:@]/.test(value) ? value.replace(/(?<=^(?:--[a-z-]+=)?).*/s, "…") : value,
  );
}

function serverProgram(terminal: Terminal): Command {
  return new Command("server")
    .description("run a server")
    .addOption(portOption())
    .addOption(orVariable(new Option("--host <address>", "the address to bind").default("127.0.0.1"), "AIKI_HOST"))
    .addOption(sharedDatabaseOption())
    .addOption(connectionsOption())
    .addOption(directOption())
    .addOption(redisOption())
    .option("--allowed-host <name...>", "further host names under which requests may arrive")
    .option("--auth", "require API keys from callers (so does AIKI_AUTH=true)")
    .option("--dangerously-allow-unauthenticated", "bind an address beyond this machine without requiring API keys")
    .option("--json", "log one JSON object per line (the default when NODE_ENV is production)")
    .action((options) => serverCommand(options, terminal));
}

function migrateProgram(terminal: Terminal): Command {
  return new Command("migrate")
    .description("bring the schema of a database up to this version, as the server does when it starts")
    .addOption(sharedDatabaseOption())
    .action((options) => migrateCommand(options, terminal));
}

function moveProgram(terminal: Terminal): Command {
  return new Command("move")
    .description("move all runs, including unfinished ones, from one database to another that has no runs")
    .requiredOption("--from <where>", "sqlite:<path> or postgres://…; no server may use it during the move")
    .requiredOption("--to <where>", "sqlite:<path> or postgres://…")
    .action((options) => moveCommand(options, terminal));
}

function devProgram(terminal: Terminal): Command {
  return new Command("dev")
    .description("run a server and a worker for the workflows that a file exports; reloads them when a source changes")
    .argument("<file>", "the TypeScript or JavaScript module that exports workflows")
    .addOption(portOption())
    .addOption(databaseOption())
    .option("--no-watchdog", "do not kill a worker that does not respond, for example in a debugger")
    .action((file, options) => devCommand(file, options, terminal));
}

function runsProgram(terminal: Terminal, parent: Command): Command {
  const runs = new Command("runs").description("look at runs and act on them");
  const add = (name: string, description: string) => {
    const command = runs.command(name).description(description).addOption(urlOption());
    return command.option("--json", "print JSON").copyInheritedSettings(parent);
  };
  add("list", "list runs, newest first")
    .option("--name <workflow>", "only runs of this workflow")
    .addOption(
      new Option("--status <statuses>", "only runs with one of these comma-separated statuses").argParser(statuses),
    )
    .option("--tag <tag...>", "only runs with all of these tags")
    .option("--reference <id>", "only runs with this reference id")
    .option("--version-id <version>", "only runs of this workflow version")
    .option("--shard <key>", "only runs with this shard key")
    .option("--error-code <code>", "only runs that failed with an error of this code")
    .addOption(new Option("--created-after <time>", "only runs created at this time or later").argParser(moment))
    .addOption(new Option("--created-before <time>", "only runs created before this time").argParser(moment))
    .addOption(new Option("--limit <count>", "the maximum number of runs").argParser(whole(1, 200)).default(20))
    .action((options) => listRuns(options, terminal));
  add("show", "show what happened to a run")
    .argument("<run>", "its id")
    .action((run, options) => showRun(run, options, terminal));
  add("cancel", "end a run and its children")
    .argument("<run>", "its id")
    .argument("[reason]", "why, for the record")
    .action((run, reason, options) => actOnRun("cancel", run, reason, options, terminal));
  const acts: Array<[Exclude<Act, "cancel">, string]> = [
    ["retry", "queue a stalled run again, or start a new one that reuses what an ended one achieved"],
    ["pause", "record what is in flight, then keep a run where it is"],
    ["resume", "continue a paused run"],
    ["wake", "end the sleeps of a run now"],
  ];
  for (const [act, description] of acts) {
    add(act, description)
      .argument("<run>", "its id")
      .action((run: string, options: ServerOptions) => actOnRun(act, run, undefined, options, terminal));
  }
  return runs;
}

function whyProgram(terminal: Terminal): Command {
  return new Command("why")
    .description("say why a run does not move, since when, and what would move it")
    .argument("<run>", "its id")
    .addOption(urlOption())
    .option("--json", "print JSON")
    .action((run, options) => whyCommand(run, options, terminal));
}

function workersProgram(terminal: Terminal): Command {
  return new Command("workers")
    .description("list the live workers, what they serve and how busy they are")
    .addOption(urlOption())
    .option("--json", "print JSON")
    .action((options) => workersCommand(options, terminal));
}

function portOption(): Option {
  return new Option("--port <number>", "the port to listen on, 0 for any free one")
    .argParser(whole(0, 65_535))
    .default(9090);
}

const defaultDatabase = "sqlite:aiki.db";

function databaseOption(...variables: readonly string[]): Option {
  const option = new Option("--database <where>", "sqlite:<path>, postgres://…, or memory: to store no data on disk");
  return orVariable(option.default(defaultDatabase), "AIKI_DATABASE", ...variables);
}

/** Also reads `DATABASE_URL`, which hosting platforms set. */
function sharedDatabaseOption(): Option {
  return databaseOption("DATABASE_URL");
}

function connectionsOption(): Option {
  const option = new Option("--database-connections <number>", "connections to PostgreSQL at most");
  return orVariable(option.argParser(whole(2, 10_000)).default(10), "AIKI_DATABASE_CONNECTIONS");
}

function directOption(): Option {
  const option = new Option(
    "--database-direct <url>",
    "the same PostgreSQL without a pooler, to receive notifications",
  );
  return orVariable(option, "AIKI_DATABASE_DIRECT");
}

function redisOption(): Option {
  const option = new Option("--redis <url>", "redis://…, for notifications and Redis Streams");
  return orVariable(option, "AIKI_REDIS", "REDIS_URL");
}

function urlOption(): Option {
  return orVariable(new Option("--url <url>", "the server to connect to").default(defaultUrl), "AIKI_URL");
}

function whole(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= lowest && value <= highest) return value;
    throw new InvalidArgumentError(`It is a whole number from ${lowest} to ${highest}.`);
  };
}

function statuses(text: string): RunStatus[] {
  return text.split(",").map((word) => {
    const status = runStatuses.find((one) => one === word.trim());
    if (status === undefined) throw new InvalidArgumentError(`Statuses are ${runStatuses.join(", ")}.`);
    return status;
  });
}

function moment(text: string): Date {
  const time = new Date(text);
  if (/^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError("It is a time such as 2026-01-31 or 2026-01-31T12:00:00Z.");
}

function packageVersion(): string {
  const read: { version?: unknown } = createRequire(import.meta.url)("../package.json");
  return String(read.version);
}
