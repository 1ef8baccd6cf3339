import type { LogFields, Logger } from "@aikirun/lib";
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

/** A logger that writes one JSON object per line, with credentials replaced by `[redacted]`. */
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
  return {
    debug: (message, fields) => log.debug(fields ?? {}, message),
    info: (message, fields) => log.info(fields ?? {}, message),
    warn: (message, fields) => log.warn(fields ?? {}, message),
    error: (message, fields) => log.error(fields ?? {}, message),
    child: (fields: LogFields) => adapted(log.child(fields)),
  };
}
