import { Command, Option } from "commander";
import { moment, statuses, urlOption, whole } from "../options.ts";
import type { Terminal } from "../terminal.ts";
import { type Act, actOnRun } from "./act.ts";
import type { ServerOptions } from "./connect.ts";
import { listRuns } from "./list.ts";
import { runArgument } from "./run-id.ts";
import { showRun } from "./show.ts";

/** `aiki runs …`. */
export function runsProgram(terminal: Terminal, parent: Command): Command {
  const runs = new Command("runs").description("look at runs and act on them");
  const add = (name: string, description: string) => {
    const command = runs.command(name).description(description).addOption(urlOption());
    return command.option("--json", "print JSON").copyInheritedSettings(parent);
  };
  add("list", "list runs, newest first")
    .option("--name <workflow>", "of this workflow")
    .addOption(new Option("--status <statuses>", "in these statuses, with commas between them").argParser(statuses))
    .option("--tag <tag...>", "with all of these tags")
    .option("--reference <id>", "with this reference id")
    .option("--version-id <version>", "of this version of their workflow")
    .option("--shard <key>", "with this shard key")
    .option("--error-code <code>", "that failed with an error of this code")
    .addOption(new Option("--created-after <time>", "created at this time or later").argParser(moment))
    .addOption(new Option("--created-before <time>", "created before this time").argParser(moment))
    .addOption(new Option("--limit <count>", "at most so many").argParser(whole(1, 200)).default(20))
    .action((options) => listRuns(options, terminal));
  add("show", "show what happened to a run")
    .addArgument(runArgument())
    .action((run, options) => showRun(run, options, terminal));
  add("cancel", "end a run and its children")
    .addArgument(runArgument())
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
      .addArgument(runArgument())
      .action((run: string, options: ServerOptions) => actOnRun(act, run, undefined, options, terminal));
  }
  return runs;
}
