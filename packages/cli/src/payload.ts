import { readFile } from "node:fs/promises";
import { describeError } from "@aikirun/lib/internal";
import { inexactIntegerIn } from "@aikirun/lib/protocol";
import { usageError } from "./command-error.ts";
import type { Terminal } from "./terminal.ts";
import { cut, plain } from "./text.ts";

/**
 * The JSON value of an argument: the argument itself, the file that follows an `@`, or standard input for `-`. `where`
 * names the argument in errors.
 */
export async function payloadOf(argument: string, where: string, terminal: Terminal): Promise<unknown> {
  const text = await textOf(argument, where, terminal);
  const value = parsed(text, where);
  const inexact = inexactIntegerIn(text);
  if (inexact === undefined) return value;
  throw usageError(
    `${where} has the number ${cut(inexact, 60)}, which JavaScript cannot hold exactly. Write it as a string.`,
  );
}

function parsed(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    const received = text.trim() === "" ? "no text" : cut(plain(text.trim()), 60);
    throw usageError(
      `${where} must be JSON, for example '{"id":1}' or '"text"'. Received ${received} (${messageOf(thrown)}).`,
    );
  }
}

async function textOf(argument: string, where: string, terminal: Terminal): Promise<string> {
  if (argument === "-") return terminal.input();
  if (!argument.startsWith("@")) return argument;
  try {
    return await readFile(argument.slice(1), "utf8");
  } catch (thrown) {
    throw usageError(`${where} names the file ${argument.slice(1)}, which cannot be read (${messageOf(thrown)}).`);
  }
}

function messageOf(thrown: unknown): string {
  return plain(describeError(thrown).message);
}
