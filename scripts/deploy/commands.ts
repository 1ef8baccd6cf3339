/** What the `aiki` command takes: its options and variables, as its help says, and whatever its sources read. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { unpainted } from "../../packages/cli/src/paint.ts";
import { createProgram } from "../../packages/cli/src/program.ts";

type Command = ReturnType<typeof createProgram>;

export interface Commands {
  /** Every variable of Aiki's that some command reads. */
  variables: ReadonlySet<string>;
  /** What is wrong with calling `aiki` like this, with these variables set; several sentences, or none. */
  complaints(args: readonly string[], variables: readonly string[]): string[];
}

const sources = "packages/cli/src";

export function aikiCommands(): Commands {
  const leaves = leavesOf(
    createProgram({ out: () => {}, note: () => {}, err: () => {}, paint: unpainted, width: 100 }),
  );
  const files = readdirSync(sources, { recursive: true, encoding: "utf8" }).filter((name) =>
    /(?<!\.test)\.ts$/.test(name),
  );
  return {
    variables: new Set(files.flatMap((name) => variablesIn(readFileSync(join(sources, name), "utf8")))),
    complaints: (args, variables) => {
      const words = [2, 1].map((count) => args.slice(0, count).join(" "));
      const command = words.map((name) => leaves.get(name)).find((leaf) => leaf !== undefined);
      if (command === undefined) return [`there is no command "aiki ${args.join(" ")}"`];
      const flags = new Set(command.options.flatMap(({ long, short }) => [long, short]));
      const unknown = args.filter((arg) => arg.startsWith("-") && !flags.has(arg.replace(/=.*/, "")));
      const read = new Set(variablesIn(command.helpInformation()));
      const unread = variables.filter((name) => name.startsWith("AIKI_") && !read.has(name));
      return [
        ...unknown.map((flag) => `aiki ${command.name()} takes no ${flag}`),
        ...unread.map((name) => `the help of aiki ${command.name()} knows of no ${name}`),
      ];
    },
  };
}

export function variablesIn(text: string): string[] {
  return text.match(/\bAIKI_[A-Z][A-Z0-9_]*\b/g) ?? [];
}

/** By the words that call them: `server`, `runs list`. */
function leavesOf(program: Command): Map<string, Command> {
  const found = new Map<string, Command>();
  for (const command of program.commands) {
    if (command.commands.length === 0) found.set(command.name(), command);
    for (const [words, leaf] of leavesOf(command)) found.set(`${command.name()} ${words}`, leaf);
  }
  return found;
}
