/** Options that several commands take, and parsers of their values. */

import type { Duration } from "@aikirun/lib";
import { toMs } from "@aikirun/lib/internal";
import { type RunStatus, runStatuses } from "@aikirun/lib/protocol";
import { InvalidArgumentError, Option } from "commander";
import { orVariable } from "./variables.ts";

const defaultUrl = "http://localhost:9090";
const defaultDatabase = "sqlite:aiki.db";

export function portOption(): Option {
  return new Option("--port <number>", "the port to listen on, 0 for any free one")
    .argParser(whole(0, 65_535))
    .default(9090);
}

export function databaseOption(...variables: readonly string[]): Option {
  const option = new Option("--database <where>", "sqlite:<path>, postgres://…, or memory: to store no data on disk");
  return orVariable(option.default(defaultDatabase), "AIKI_DATABASE", ...variables);
}

/** Also reads `DATABASE_URL`, which hosting platforms set. */
export function sharedDatabaseOption(): Option {
  return databaseOption("DATABASE_URL");
}

export function connectionsOption(): Option {
  const option = new Option("--database-connections <number>", "connections to PostgreSQL at most");
  return orVariable(option.argParser(whole(2, 10_000)).default(10), "AIKI_DATABASE_CONNECTIONS");
}

export function directOption(): Option {
  const option = new Option(
    "--database-direct <url>",
    "the same PostgreSQL without a pooler, to receive notifications",
  );
  return orVariable(option, "AIKI_DATABASE_DIRECT");
}

export function redisOption(): Option {
  const option = new Option("--redis <url>", "redis://…, for notifications and Redis Streams");
  return orVariable(option, "AIKI_REDIS", "REDIS_URL");
}

export function urlOption(): Option {
  return orVariable(new Option("--url <url>", "the server to connect to").default(defaultUrl), "AIKI_URL");
}

/** Parses a whole number between two bounds, both inclusive. */
export function whole(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^-?\d+$/.test(text) && value >= lowest && value <= highest) return value;
    throw new InvalidArgumentError(`It is a whole number from ${lowest} to ${highest}.`);
  };
}

/** Collects the different values of an option that may be repeated. */
export function repeated(text: string, earlier: string[] = []): string[] {
  return [...new Set([...earlier, text])];
}

/** Parses statuses with commas between them. */
export function statuses(text: string): RunStatus[] {
  return text.split(",").map((word) => {
    const status = runStatuses.find((one) => one === word.trim());
    if (status === undefined) throw new InvalidArgumentError(`Statuses are ${runStatuses.join(", ")}.`);
    return status;
  });
}

/** Parses a date or a date with a time. Without a zone, a time is local and a date is UTC. */
export function moment(text: string): Date {
  const time = new Date(text);
  if (/^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError("It is a time such as 2026-01-31 or 2026-01-31T12:00:00Z.");
}

/** Parses a duration such as `90d`, `12h`, `30m` or `45s`. */
export function duration(text: string): Duration {
  const [, amount, unit] = /^(\d{1,6})([dhms])$/.exec(text) ?? [];
  const count = Number(amount);
  const durations = { d: { days: count }, h: { hours: count }, m: { minutes: count }, s: { seconds: count } };
  const found = Object.entries(durations).find(([name]) => name === unit)?.[1];
  if (found === undefined || toMs(found) === 0) throw new InvalidArgumentError("Write 90d, 12h, 30m or 45s.");
  return found;
}
