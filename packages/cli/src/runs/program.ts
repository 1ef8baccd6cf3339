import { Command, Option } from "commander";
import { duration, moment, repeated, urlOption, whole } from "../options.ts";
import type { Terminal } from "../terminal.ts";
import type { ActOptions } from "./act.ts";
import type { Act } from "./bulk.ts";
import { addFilters, orderOption } from "./filter.ts";
import { runArgument, runsArgument } from "./run-id.ts";

type Add = (name: string, description: string) => Command;

/** `aiki runs …`. */
export function runsProgram(terminal: Terminal, parent: Command): Command {
  const runs = new Command("runs").description("look at runs and act on them");
  const add = (name: string, description: string) => {
    const command = runs.command(name).description(description).addOption(urlOption());
    return command.option("--json", "print JSON").copyInheritedSettings(parent);
  };
  addReading(add, terminal);
  addStarting(add, terminal);
  addActing(add, terminal);
  return runs;
}

function addReading(add: Add, terminal: Terminal): void {
  addFilters(add("list", "list runs, newest first"))
    .addOption(orderOption())
    .addOption(new Option("--limit <count>", "at most so many").argParser(whole(1, 10_000)).default(20))
    .addOption(new Option("--all", "all runs that match").conflicts("limit"))
    .option("--cursor <text>", "where the list begins: the end of the list that printed it")
    .action(async (options) => (await import("./list.ts")).listRuns(options, terminal));
  add("show", "show what happened to a run")
    .addArgument(runArgument())
    .option("--follow", "also print what is recorded from now on, until the run ends")
    .action(async (run, options) => (await import("./show.ts")).showRun(run, options, terminal));
  addFilters(add("export", "print runs with their journals, each as one line of JSON"))
    .addOption(orderOption())
    .action(async (options) => (await import("./export.ts")).exportRuns(options, terminal));
}

function addStarting(add: Add, terminal: Terminal): void {
  add("start", "start a run")
    .argument("<workflow>", "NAME@VERSION, or NAME if the live workers serve one version of it")
    .option("--input <json>", "the input as JSON; @FILE reads a file, - reads standard input")
    .option("--reference <id>", "your own id of the run: a repeat with the same input is the same run")
    .addOption(
      new Option("--on-conflict <what>", "if the reference exists with another input").choices([
        "error",
        "return_existing",
      ]),
    )
    .option("--shard <key>", "only workers that serve this shard key execute the run")
    .addOption(new Option("--tag <tag>", "by which the run is found; repeat it for several").argParser(repeated))
    .addOption(new Option("--priority <number>", "higher first").argParser(whole(-1_000, 1_000)))
    .addOption(new Option("--at <time>", "when the run is queued").argParser(moment).conflicts("delay"))
    .addOption(new Option("--delay <time>", "how long until the run is queued, such as 90s or 2h").argParser(duration))
    .addOption(
      new Option(
        "--timeout <time>",
        "how long the run may take; the workflow's own timeout is not known here",
      ).argParser(duration),
    )
    .option("--follow", "print what is recorded until the run ends")
    .action(async (workflow, options) => (await import("./start.ts")).startRun(workflow, options, terminal));
  add("event", "send an event to a run")
    .addArgument(runArgument())
    .argument("<name>", "the name of the event")
    .argument("[data]", "its data as JSON; @FILE reads a file, - reads standard input")
    .option("--reference <id>", "your own id of the event: a repeat has no effect")
    .action(async (run, name, data, options) =>
      (await import("./event.ts")).sendEvent(run, name, data, options, terminal),
    );
}

function addActing(add: Add, terminal: Terminal): void {
  const acts: Array<[Act, string]> = [
    ["cancel", "end runs and their children"],
    ["retry", "queue stalled runs again, or start new ones that reuse what ended ones achieved"],
    ["pause", "record what is in flight, then keep runs where they are"],
    ["resume", "continue paused runs"],
    ["wake", "end the sleeps of runs now"],
  ];
  for (const [act, description] of acts) {
    const command = addFilters(add(act, description).addArgument(runsArgument()))
      .option("--yes", "do not ask for confirmation")
      .action(async (runs: string[], options: ActOptions) =>
        (await import("./act.ts")).actOnRuns(act, runs, options, terminal),
      );
    if (act === "cancel" || act === "pause") command.option("--reason <text>", "why, for the record");
  }
}
