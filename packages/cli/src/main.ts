import { isAikiError } from "@aikirun/lib";
import { CommanderError } from "commander";
import { createProgram } from "./program.ts";
import { processTerminal, type Terminal } from "./terminal.ts";
import { plain } from "./text.ts";
import { endAfterSignal } from "./until-signal.ts";

/** Runs one command of `aiki`; resolves with the exit status: 0 done, 1 failed, 2 not understood. Never rejects. */
export async function main(args: readonly string[], terminal: Terminal = processTerminal()): Promise<number> {
  try {
    await createProgram(terminal).parseAsync([...args], { from: "user" });
    return 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2;
    terminal.err(`${terminal.paint("red", "error")} ${sentenceOf(thrown)}`);
    return 1;
  } finally {
    endAfterSignal();
  }
}

function sentenceOf(thrown: unknown): string {
  if (isAikiError(thrown)) return `${thrown.code}: ${plain(thrown.message)}`;
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}
