import { type Paint, paintFor } from "./paint.ts";

/** Where a command writes to, and how wide and colourful that is. */
export interface Terminal {
  /** One line of what was asked for. */
  out(line: string): void;
  /** One line about what went wrong. */
  err(line: string): void;
  paint: Paint;
  /** Characters per line. */
  width: number;
}

/** The standard streams of this process. */
export function processTerminal(): Terminal {
  return {
    out: (line) => {
      process.stdout.write(`${line}\n`);
    },
    err: (line) => {
      process.stderr.write(`${line}\n`);
    },
    paint: paintFor(process.stdout, process.env),
    width: process.stdout.columns ?? 160,
  };
}
