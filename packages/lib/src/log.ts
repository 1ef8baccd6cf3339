import process from "node:process";
import { describeError } from "./failure.ts";
import { logOutput } from "./log-output.ts";
import { logValue } from "./log-value.ts";

/** Structured logging; bring your own (pino, winston and console all fit behind these five lines). */
export interface Logger {
  /** Logs what helps to find a fault. */
  debug(message: string, fields?: LogFields): void;
  /** Logs what happened. */
  info(message: string, fields?: LogFields): void;
  /** Logs what may need attention. */
  warn(message: string, fields?: LogFields): void;
  /** Logs a fault that needs attention. */
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
}

/** Structured fields of one line. */
export type LogFields = Readonly<Record<string, unknown>>;

/** How much is logged: lines of this level and above. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** The message of the warning that says how many `lines` of the log could not be written. */
export const droppedLines = "log lines were dropped because they could not be written";

const ranks = { debug: 0, info: 1, warn: 2, error: 3 } as const satisfies Record<LogLevel, number>;

/** Options of `consoleLogger`. */
export interface ConsoleLoggerOptions {
  /** Lines below this level are dropped. Default `info`. */
  level?: LogLevel;
  /**
   * Where lines go, without their line end. Default: warnings and errors to standard error, others to standard output;
   * lines that cannot be written are dropped and counted, and a warning says how many when writing works again.
   */
  write?: (line: string, level: LogLevel) => void;
  /** Epoch milliseconds; lines show local time. Default: the system's clock. */
  now?: () => number;
}

/** One line per message: `HH:MM:SS.mmm level message key=value`. Control characters are escaped. Never throws. */
export function consoleLogger(options: ConsoleLoggerOptions = {}): Logger {
  const { level = "info", now = Date.now } = options;
  const write = options.write ?? standardOutputs(now);
  const make = (bound: LogFields): Logger => {
    const at = (lineLevel: LogLevel) => (message: string, fields?: LogFields) => {
      if (ranks[lineLevel] < ranks[level]) return;
      write(line(now(), lineLevel, message, { ...bound, ...fields }), lineLevel);
    };
    const child = (fields: LogFields): Logger => make({ ...bound, ...fields });
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), child };
  };
  return make({});
}

/** Logs nothing. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};

function standardOutputs(now: () => number): (text: string, level: LogLevel) => void {
  const notice = (lines: number) => line(now(), "warn", droppedLines, { lines });
  const out = logOutput(process.stdout, notice);
  const err = logOutput(process.stderr, notice);
  return (text, level) => (level === "warn" || level === "error" ? err(text) : out(text));
}

function line(at: number, level: LogLevel, message: string, fields: LogFields): string {
  const parts = [time(at), level.padEnd(5), escapeControls(message)];
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) parts.push(`${escapeControls(key)}=${show(value)}`);
  }
  return parts.join(" ");
}

function time(at: number): string {
  const date = new Date(at);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0"));
  return `${clock.join(":")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

const longestField = 2_000;

function show(value: unknown): string {
  const text = plain(value);
  const short = text.length <= longestField ? text : `${text.slice(0, longestField)}…`;
  const bare = /^[^\s="]+$/u.test(short) || (typeof value === "object" && !(value instanceof Error));
  return escapeControls(bare ? short : JSON.stringify(short));
}

/** An error shows its name and message, and those of its cause, or of the first of its errors. */
function plain(value: unknown): string {
  try {
    if (typeof value === "string") return value;
    if (value instanceof Error) {
      const { name, message, errors = [], cause = errors[0] } = describeError(value);
      return `${name}: ${message}${cause === undefined ? "" : ` (caused by ${cause.name}: ${cause.message})`}`;
    }
    if (typeof value === "object") return JSON.stringify(logValue(value)) ?? String(value);
    return String(value);
  } catch {
    return "(unreadable)";
  }
}

/** Escapes control characters, so that a line cannot control the terminal. */
function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, (unit) => {
    const code = unit.charCodeAt(0);
    return code === 10 ? "\\n" : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
