import { debuglog } from "node:util";
import { AikiError, isAikiError } from "@aikirun/lib";
import { describeError } from "@aikirun/lib/internal";
import { type Command, CommanderError } from "commander";
import { CommandError } from "./command-error.ts";
import { createProgram } from "./program.ts";
import { processTerminal, type Terminal } from "./terminal.ts";
import { plain } from "./text.ts";
import { endAfterSignal } from "./until-signal.ts";
import { originOf } from "./variables.ts";

/** Runs one command of `aiki`. Resolves with the exit status: 0 success, 1 failure, 2 usage error. Never rejects. */
export async function main(args: readonly string[], terminal: Terminal = processTerminal()): Promise<number> {
  let running: Command | undefined;
  try {
    const program = createProgram(terminal).hook("preAction", (_, command) => {
      running = command;
    });
    await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2;
    if (thrown instanceof CommandError) {
      terminal.err(`error: ${thrown.message}`);
      return thrown.status;
    }
    terminal.err(`${terminal.paint("red", "error")} ${sentenceOf(explained(thrown), running)}`);
    return 1;
  } finally {
    endAfterSignal();
  }
}

/** Shows the stack of an unforeseen error, when the environment variable NODE_DEBUG holds `aiki`. */
const debug = debuglog("aiki");

/** The error as a code and a sentence. The stack is omitted, because it does not help the user of a command. */
function explained(thrown: unknown): AikiError {
  if (isAikiError(thrown)) return thrown;
  const { message, stack = message } = describeError(thrown);
  debug("%s", stack);
  if (isSystemError(thrown)) return new AikiError("SYSTEM_ERROR", `The operating system refused this: ${message}.`);
  return new AikiError(
    "INTERNAL",
    `${message}. This is a fault of Aiki. Run the command with NODE_DEBUG=aiki and report the output.`,
  );
}

/** Whether the operating system refused an operation, for example to open a file. */
function isSystemError(thrown: unknown): boolean {
  return thrown instanceof Error && "syscall" in thrown && "code" in thrown;
}

/** The error, with the option or variable that set the invalid field. */
function sentenceOf({ code, message, ids }: AikiError, command: Command | undefined): string {
  const { field } = ids;
  const origin = command === undefined || field === undefined ? undefined : originOf(command, field);
  return `${code}: ${plain(message)}${origin === undefined ? "" : ` (${origin})`}`;
}
