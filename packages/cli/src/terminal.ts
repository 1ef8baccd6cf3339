import { AikiError } from "@aikirun/lib";
import { type Paint, paintFor } from "./paint.ts";

/** The reader of a pipe has gone, as `head` does when it has enough: a normal end of reading. */
const brokenPipe = "EPIPE";

/** Where a command writes to, and how wide and colourful that is. */
export interface Terminal {
  /** One line of what was asked for. The command fails when it cannot be written, unless its reader has gone. */
  out(line: string): void;
  /** One line about what a program does that runs until it is stopped. It is dropped when it cannot be written. */
  note(line: string): void;
  /** One line about what went wrong. */
  err(line: string): void;
  /** Colours a text where the terminal shows colours. */
  paint: Paint;
  /** Characters per line. */
  width: number;
}

/** The standard streams of this process. When a line of `out` is lost, the process ends with status 1. */
export function processTerminal(): Terminal {
  surviveOutputErrors();
  let isLost = false;
  const settle = (error?: NodeJS.ErrnoException | null) => {
    if (!error || error.code === brokenPipe || isLost) return;
    isLost = true;
    const message = "Standard output cannot be written. Part of what the command printed is lost.";
    const { code } = new AikiError("OUTPUT_LOST", message, { cause: error });
    process.stderr.write(`error ${code}: ${message} (${error.message})\n`);
    process.once("exit", (status) => {
      process.exitCode = status === 0 ? 1 : status;
    });
  };
  return {
    out: (line) => {
      process.stdout.write(`${line}\n`, settle);
    },
    note: (line) => {
      process.stdout.write(`${line}\n`);
    },
    err: (line) => {
      process.stderr.write(`${line}\n`);
    },
    paint: paintFor(process.stdout, process.env),
    width: process.stdout.columns ?? 160,
  };
}

/** Keeps the process alive when its standard output or standard error cannot be written: a full disk, a closed pipe. */
export function surviveOutputErrors(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
}
