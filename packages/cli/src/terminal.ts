import { AikiError } from "@aikirun/lib";
import { type Paint, paintFor } from "./paint.ts";

/** The error code if the reader has closed the pipe, as `head` does. This is not a failure of the command. */
const brokenPipe = "EPIPE";

/** The output of a command, its width and its colours. */
export interface Terminal {
  /** Writes a line of the result. The command fails if it cannot be written, unless the reader has closed the pipe. */
  out(line: string): void;
  /** Writes a line about the progress of a long-running command. The line is dropped if it cannot be written. */
  note(line: string): void;
  /** Writes a line about an error. */
  err(line: string): void;
  /** Styles a text if the terminal shows colours. */
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
