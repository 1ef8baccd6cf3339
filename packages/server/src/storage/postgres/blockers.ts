/** Logs which sessions hold a lock that a migration waits for. */

import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "@aikirun/lib";
import type { Row } from "../row.ts";
import { withConnection } from "./connect.ts";

/** The session that may wait for a lock; its fields change over time. */
export interface Blocked {
  /** The process of PostgreSQL that serves it; null while it has no transaction. */
  pid: number | null;
  /** The current step, for the log. */
  doing: string;
}

/** How often to look for blockers. A lock that is held for a shorter time may not be logged. Milliseconds. */
const lookMs = 250;

/** How often to repeat the line while the same sessions hold the lock. Milliseconds. */
const repeatMs = 10_000;

/** Other roles' queries are shown to superusers and members of `pg_read_all_stats` only. */
const selectBlockers = `
  SELECT
    activity.pid,
    coalesce(nullif(activity.application_name, ''), 'unnamed') AS application,
    coalesce(host(activity.client_addr), 'local') AS address,
    activity.usename AS role,
    activity.state,
    left(activity.query, 200) AS query,
    round(extract(epoch FROM clock_timestamp() - activity.xact_start))::int AS "transactionSeconds"
  FROM unnest(pg_blocking_pids($1)) AS blocking (pid)
  JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = blocking.pid
  ORDER BY activity.pid`;

/** Uses a separate connection until it is stopped. Never rejects: without that connection it logs no blockers. */
export async function reportBlockers(
  url: string,
  blocked: Blocked,
  logger: Logger | undefined,
  stop: AbortSignal,
): Promise<void> {
  let said = { pids: "", at: Number.NEGATIVE_INFINITY };
  const look = async (ask: (pid: number) => Promise<Row[]>): Promise<void> => {
    const { pid, doing } = blocked;
    if (pid === null) return;
    const blockers = await ask(pid);
    const pids = blockers.map((row) => String(row.pid)).join();
    const isRepeated = pids === said.pids && performance.now() - said.at < repeatMs;
    if (blockers.length === 0 || isRepeated) return;
    said = { pids, at: performance.now() };
    logger?.warn("a migration waits for a lock that other sessions hold; it tries again until it gets the lock", {
      migration: doing,
      pid,
      blockers,
    });
  };
  await withConnection(url, "limited", async (client) => {
    while (!stop.aborted) {
      await look(async (pid) => (await client.query<Row>(selectBlockers, [pid])).rows);
      await pause(lookMs, undefined, { signal: stop });
    }
  }).catch((error: unknown) => {
    if (!stop.aborted) logger?.debug("cannot see which sessions keep a migration waiting", { error: String(error) });
  });
}
