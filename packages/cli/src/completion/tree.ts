import { runStatuses, scopes } from "@aikirun/lib/protocol";
import type { Command } from "commander";

/** A command, and what can follow it on a command line. */
export interface CompletedCommand {
  /** The words that name it, without `aiki`: empty for `aiki` itself. */
  path: readonly string[];
  subcommands: readonly CompletedWord[];
  options: readonly CompletedOption[];
  /** The choices of its first argument. */
  choices: readonly string[];
  /** Whether an argument names a file. */
  takesFile: boolean;
}

/** A word with a description. */
export interface CompletedWord {
  word: string;
  description: string;
}

export interface CompletedOption extends CompletedWord {
  /** What can follow it: nothing, one of some words, or any text. */
  value: { type: "none" } | { type: "choices"; choices: readonly string[] } | { type: "text" };
}

/** Options whose values are lists with commas: their parser has no choices. */
const listed: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ["--status", runStatuses],
  ["--scopes", scopes],
]);

/** All commands, from `aiki` itself to the innermost ones. */
export function completedCommands(command: Command, path: readonly string[] = []): CompletedCommand[] {
  const [argument] = command.registeredArguments;
  const own: CompletedCommand = {
    path,
    subcommands: command.commands.map((one) => ({ word: one.name(), description: one.description() })),
    options: [
      ...command.options.flatMap(({ long, description, argChoices, required, optional }): CompletedOption[] => {
        if (long === undefined || long === null) return [];
        const choices = argChoices ?? listed.get(long);
        const takesValue = required || optional;
        const value = choices === undefined ? (takesValue ? "text" : "none") : "choices";
        return [
          {
            word: long,
            description,
            value: value === "choices" ? { type: value, choices: choices ?? [] } : { type: value },
          },
        ];
      }),
      { word: "--help", description: "display help for command", value: { type: "none" } },
    ],
    choices: argument?.argChoices ?? [],
    takesFile: argument?.name() === "file",
  };
  return [own, ...command.commands.flatMap((one) => completedCommands(one, [...path, one.name()]))];
}

/** The words of `command word` for each command within another one, as the scripts compare them. */
export function stepsOf(commands: readonly CompletedCommand[]): string[] {
  return commands.flatMap(({ path }) => (path.length === 0 ? [] : [`${path.slice(0, -1).join(" ")} ${path.at(-1)}`]));
}
