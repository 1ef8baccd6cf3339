import { Command, Option } from "commander";
import { completionProgram } from "./completion/program.ts";
import { keysProgram } from "./keys/program.ts";
import {
  connectionsOption,
  databaseOption,
  directOption,
  duration,
  portOption,
  redisOption,
  repeated,
  sharedDatabaseOption,
  urlOption,
  whole,
} from "./options.ts";
import { packageVersion } from "./package-version.ts";
import { runsProgram } from "./runs/program.ts";
import { runArgument } from "./runs/run-id.ts";
import type { Terminal } from "./terminal.ts";
import { orVariable, readVariables } from "./variables.ts";

export function createProgram(terminal: Terminal): Command {
  const program = new Command("aiki")
    .description("Durable execution for TypeScript: a server, a development loop, and a look at runs.")
    .version(packageVersion, "-V, --version")
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
  program.addCommand(workerProgram(terminal).copyInheritedSettings(program));
  program.addCommand(runsProgram(terminal, program).copyInheritedSettings(program));
  program.addCommand(whyProgram(terminal).copyInheritedSettings(program));
  program.addCommand(workersProgram(terminal).copyInheritedSettings(program));
  program.addCommand(topProgram(terminal).copyInheritedSettings(program));
  program.addCommand(doctorProgram(terminal).copyInheritedSettings(program));
  program.addCommand(completionProgram(terminal, program).copyInheritedSettings(program));
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
    .addOption(
      orVariable(new Option("--base-path <path>", "the path below which a proxy serves it: /x/y"), "AIKI_BASE_PATH"),
    )
    .option("--auth", "require API keys from callers (so does AIKI_AUTH=true)")
    .option("--dangerously-allow-unauthenticated", "bind an address beyond this machine without requiring API keys")
    .option("--json", "log one JSON object per line (the default when NODE_ENV is production)")
    .action(async (options) => (await import("./server-command.ts")).serverCommand(options, terminal));
}

function migrateProgram(terminal: Terminal): Command {
  return new Command("migrate")
    .description("bring the schema of a database up to this version, as the server does when it starts")
    .addOption(sharedDatabaseOption())
    .option("--json", "print JSON")
    .action(async (options) => (await import("./migrate-command.ts")).migrateCommand(options, terminal));
}

function moveProgram(terminal: Terminal): Command {
  return new Command("move")
    .description("move all runs, including unfinished ones, from one database to another that has no runs")
    .requiredOption("--from <where>", "sqlite:<path> or postgres://…; no server may use it during the move")
    .requiredOption("--to <where>", "sqlite:<path> or postgres://…")
    .option("--json", "print JSON")
    .action(async (options) => (await import("./move-command.ts")).moveCommand(options, terminal));
}

function devProgram(terminal: Terminal): Command {
  return new Command("dev")
    .description("run a server and a worker for the workflows that a file exports; reloads them when a source changes")
    .argument("<file>", "the TypeScript or JavaScript module that exports workflows")
    .addOption(portOption())
    .addOption(databaseOption())
    .option("--no-watchdog", "do not kill a worker that does not respond, for example in a debugger")
    .action(async (file, options) => (await import("./dev/command.ts")).devCommand(file, options, terminal));
}

function workerProgram(terminal: Terminal): Command {
  return new Command("worker")
    .description("run a worker, without a server, for the workflows that a file exports")
    .argument("<file>", "the TypeScript or JavaScript module that exports workflows")
    .addOption(urlOption())
    .option("--id <label>", "the name of the worker in lists; default: generated")
    .addOption(new Option("--concurrency <count>", "how many runs at once").argParser(whole(1, 1_000)).default(10))
    .addOption(
      new Option("--shard <key>", "serve only runs with this shard key; repeat it for several").argParser(repeated),
    )
    .addOption(
      orVariable(new Option("--build-id <text>", "a name of the deployed code, such as a commit"), "AIKI_BUILD_ID"),
    )
    .addOption(
      new Option("--shutdown-timeout <time>", "how long running tasks may take to finish after SIGTERM or Ctrl-C")
        .argParser(duration)
        .default({ seconds: 5 }, "5s"),
    )
    .option("--json", "log one JSON object per line (the default when NODE_ENV is production)")
    .action(async (file, options) => (await import("./worker-command.ts")).workerCommand(file, options, terminal));
}

function topProgram(terminal: Terminal): Command {
  return new Command("top")
    .description("show workers, the number of runs of each status, and the latest changes, until q ends it")
    .addOption(urlOption())
    .addOption(
      new Option("--interval <time>", "how often to look again").argParser(duration).default({ seconds: 2 }, "2s"),
    )
    .option("--json", "print JSON once")
    .action(async (options) => (await import("./top/command.ts")).topCommand(options, terminal));
}

function doctorProgram(terminal: Terminal): Command {
  return new Command("doctor")
    .description("check this machine, the database, Redis and the server, and say what to do")
    .addOption(urlOption())
    .addOption(sharedDatabaseOption())
    .addOption(directOption())
    .addOption(redisOption())
    .option("--json", "print JSON")
    .action(async (options, command: Command) => {
      const isGiven = (name: string) => command.getOptionValueSource(name) !== "default";
      return (await import("./doctor/command.ts")).doctorCommand(
        options,
        { url: isGiven("url"), database: isGiven("database") },
        terminal,
      );
    });
}

function whyProgram(terminal: Terminal): Command {
  return new Command("why")
    .description("say why a run does not move, since when, and what would move it")
    .addArgument(runArgument())
    .addOption(urlOption())
    .option("--json", "print JSON")
    .action(async (run, options) => (await import("./why-command.ts")).whyCommand(run, options, terminal));
}

function workersProgram(terminal: Terminal): Command {
  return new Command("workers")
    .description("list the live workers, what they serve and how busy they are")
    .addOption(urlOption())
    .option("--json", "print JSON")
    .action(async (options) => (await import("./workers-command.ts")).workersCommand(options, terminal));
}
