import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { text } from "node:stream/consumers";
import { stripVTControlCharacters } from "node:util";
import { AikiError } from "@aikirun/lib";
import { type Paint, paintFor, unpainted } from "./paint.ts";
import { cut } from "./text.ts";

/** The error code if the reader has closed the pipe, as `head` does. This is not a failure of the command. */
const brokenPipe = "EPIPE";

/** The input and output of a command, its size and its colours. */
export interface Terminal {
  /** Writes a line of the result. The command fails if it cannot be written, unless the reader has closed the pipe. */
  out(line: string): void;
  /**
   * Resolves when the reader of the result can receive more of it: with false if nothing more can be written. Await it
   * between parts of a long result.
   */
  drained(): Promise<boolean>;
  /** Writes a line about the progress of a long-running command. The line is dropped if it cannot be written. */
  note(line: string): void;
  /** Writes a line about an error. */
  err(line: string): void;
  /**
   * Shows a text in place of the previous one on standard error, dim and cut to one line; null removes it. No effect if
   * standard error is no terminal.
   */
  progress(line: string | null): void;
  /** Takes the whole terminal until `Screen.close`. Call it only if `isInteractive` is true. */
  screen(onKey: (key: string) => void): Screen;
  /** Asks the user a question. Resolves with the answer, or with null if there is no terminal to ask on. */
  ask(question: string): Promise<string | null>;
  /** Reads all of standard input. */
  input(): Promise<string>;
  /** Styles a text if the terminal shows colours. */
  paint: Paint;
  /** Whether the result is shown on a terminal. */
  readonly isInteractive: boolean;
  /** Whether `progress` has an effect. */
  readonly showsProgress: boolean;
  /** Characters per line; 160 if the result is not shown on a terminal. */
  readonly width: number;
  /** Lines of the terminal; 24 if it is unknown. */
  readonly height: number;
}

/** The whole terminal, without what was printed before. `close` restores that. */
export interface Screen {
  /** Shows these lines in place of those of the previous call. */
  draw(lines: readonly string[]): void;
  /** Restores what was printed before. */
  close(): void;
}

/** The standard streams of this process. When a line of `out` is lost, the process ends with status 1. */
export function processTerminal(): Terminal {
  surviveOutputErrors();
  const { stdin, stdout, stderr } = process;
  let isWritable = true;
  const reportLoss = lossReporter();
  const onWritten = (error?: Error | null) => {
    if (error) isWritable = false;
    reportLoss(error);
  };
  const errorPaint = paintFor(stderr, process.env);
  let isProgressShown = false;
  const progress = (line: string | null) => {
    if (stderr.isTTY !== true) return;
    if (isProgressShown) stderr.write("\r\x1b[2K");
    isProgressShown = line !== null;
    if (line !== null) stderr.write(errorPaint("dim", cut(line, (stderr.columns ?? 80) - 1)));
  };
  const write = (stream: NodeJS.WriteStream, line: string, then?: (error?: Error | null) => void) => {
    if (stream.isTTY === true) progress(null);
    stream.write(`${line}\n`, then);
  };
  return {
    out: (line) => write(stdout, line, onWritten),
    drained: async () => {
      if (isWritable && stdout.writableNeedDrain) {
        await Promise.race([once(stdout, "drain"), once(stdout, "close")]).catch(() => {});
      }
      return isWritable;
    },
    note: (line) => write(stdout, line),
    err: (line) => write(stderr, errorPaint === unpainted ? stripVTControlCharacters(line) : line),
    progress,
    screen: (onKey) => openScreen(onKey),
    ask: async (question) => {
      if (stdin.isTTY !== true || stderr.isTTY !== true) return null;
      progress(null);
      const prompt = createInterface({ input: stdin, output: stderr });
      const noAnswer = () => {
        stderr.write("\n");
        return "";
      };
      // Control-C and Control-D reject the question.
      return prompt
        .question(question)
        .catch(noAnswer)
        .finally(() => prompt.close());
    },
    input: () => text(stdin),
    paint: paintFor(stdout, process.env),
    isInteractive: stdout.isTTY === true,
    showsProgress: stderr.isTTY === true,
    get width() {
      return stdout.columns ?? 160;
    },
    get height() {
      return stdout.rows ?? 24;
    },
  };
}

/** Control-C is passed to `onKey` as `\x03`, because the terminal sends no signal while its keys are read. */
function openScreen(onKey: (key: string) => void): Screen {
  const { stdin, stdout } = process;
  const onInput = (chunk: Buffer) => onKey(chunk.toString());
  const isRaw = stdin.isTTY === true;
  if (isRaw) stdin.setRawMode(true).on("data", onInput);
  stdout.write("\x1b[?1049h\x1b[?25l");
  return {
    draw: (lines) => stdout.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`),
    close: () => {
      stdout.write("\x1b[?25h\x1b[?1049l");
      if (isRaw) stdin.off("data", onInput).setRawMode(false).pause();
    },
  };
}

/** Receives the result of each write of the command's output. The first lost line is reported once. */
function lossReporter(): (error?: NodeJS.ErrnoException | null) => void {
  let isLost = false;
  return (error) => {
    if (!error || error.code === brokenPipe || isLost) return;
    isLost = true;
    const message = "Standard output cannot be written. Part of what the command printed is lost.";
    const { code } = new AikiError("OUTPUT_LOST", message, { cause: error });
    process.stderr.write(`error ${code}: ${message} (${error.message})\n`);
    process.once("exit", (status) => {
      process.exitCode = status === 0 ? 1 : status;
    });
  };
}

/** Keeps the process alive when its standard output or standard error cannot be written: a full disk, a closed pipe. */
export function surviveOutputErrors(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
}
