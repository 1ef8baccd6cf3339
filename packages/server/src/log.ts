import type { LogFields, Logger, LogLevel } from "@aikirun/lib";
import { droppedLines, logOutput, logValue } from "@aikirun/lib/internal";
import { type DestinationStream, type Logger as Pino, pino } from "pino";

/** Fields whose values never reach a log, at the top of a line and one level down. */
const secrets = ["authorization", "cookie", "password", "token", "secret", "apiKey", "connectionString"];

/** How much to log, and where to. */
export interface JsonLoggerOptions {
  /** The least severe level that is written. Default `info`. */
  level?: "debug" | "info" | "warn" | "error";
  /**
   * Where lines go, each with its line end. Default: standard output; lines that cannot be written are dropped and
   * counted, and a warning has their number when writing works again.
   */
  destination?: DestinationStream;
}

/**
 * A logger that writes one JSON object per line, with credentials replaced by `[redacted]`. Errors, at any depth of the
 * fields, are objects with `name`, `message`, `code`, `stack`, `cause` and `errors`; never with their other own fields.
 */
export function jsonLogger(options: JsonLoggerOptions = {}): Logger {
  const settings = {
    level: options.level ?? "info",
    base: null,
    redact: { paths: secrets.flatMap((field) => [field, `*.${field}`]), censor: "[redacted]" },
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return adapted(pino(settings, options.destination ?? standardOutput()));
}

function standardOutput(): DestinationStream {
  const notice = (lines: number) =>
    JSON.stringify({ level: "warn", time: new Date().toISOString(), lines, msg: droppedLines });
  const write = logOutput(process.stdout, notice);
  return { write: (text) => write(text.trimEnd()) };
}

function adapted(log: Pino): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (log.isLevelEnabled(level)) log[level](logValue(fields ?? {}), message);
  };
  const child = (fields: LogFields) => adapted(log.child(Object(logValue(fields))));
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), child };
}
