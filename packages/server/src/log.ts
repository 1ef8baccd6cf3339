import { type LogFields, type Logger, type LogLevel, logValue } from "@aikirun/lib";
import { type DestinationStream, type Logger as Pino, pino } from "pino";

/** Fields whose values never reach a log, at the top of a line and one level down. */
const secrets = ["authorization", "cookie", "password", "token", "secret", "apiKey", "connectionString"];

/** How much to log, and where to. */
export interface JsonLoggerOptions {
  /** The least severe level that is written. Default `info`. */
  level?: "debug" | "info" | "warn" | "error";
  /** Default: standard output. */
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
  return adapted(options.destination === undefined ? pino(settings) : pino(settings, options.destination));
}

function adapted(log: Pino): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (log.isLevelEnabled(level)) log[level](logValue(fields ?? {}), message);
  };
  const child = (fields: LogFields) => adapted(log.child(Object(logValue(fields))));
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), child };
}
