/** Finds open transactions, held locks and unread messages that remain after all faults have ended. */

import { wakeUpGroup, wakeUpStreamLength } from "@aikirun/lib/protocol";
import { isFinal } from "../../packages/server/src/core/draft.ts";
import type { Run } from "../../packages/server/src/core/run.ts";
import { readRows } from "../end-to-end/rows.ts";
import type { RedisProcess } from "../real/redis-process.ts";
import type { Postgres } from "./primary.ts";

/** The maximum number of connections of one server, including those that receive notifications. */
const sessionsOfOne = 8;

/** Open transactions, advisory locks and excess sessions of a database without requests: one line each. */
export async function openSessions({ sql }: Pick<Postgres, "sql">, servers: number): Promise<string[]> {
  const rows = await sql(`
    SELECT state, count(*)::int AS count FROM pg_stat_activity
    WHERE application_name = 'aiki' AND datname = current_database() GROUP BY state`);
  const locks = await sql(`
    SELECT count(*)::int AS count FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()`);
  const total = rows.reduce((sum, { count }) => sum + Number(count), 0);
  const idle = rows.filter(({ state }) => String(state).startsWith("idle in transaction"));
  return [
    ...idle.map(({ state, count }) => `${count} sessions are ${state}`),
    ...(total > servers * sessionsOfOne ? [`${total} sessions for ${servers} servers`] : []),
    ...(Number(locks[0]?.count) > 0 ? [`${locks[0]?.count} advisory locks are held`] : []),
  ];
}

/** Unread and unacknowledged messages, and consumers of workers that no longer exist: one line each. */
export async function openStreams(redis: RedisProcess, workers: number): Promise<string[]> {
  const keys = await redis.send("keys", "chaos:*");
  const found: string[] = [];
  for (const key of Array.isArray(keys) ? keys.map(String) : []) {
    const length = Number(await redis.send("xlen", key));
    if (length > wakeUpStreamLength) found.push(`${key} holds ${length} messages`);
    for (const { name, pending, unread, consumers } of await groupsOf(redis, key)) {
      if (name !== wakeUpGroup) found.push(`${key} has a group ${name}`);
      if (pending > 0) found.push(`${pending} messages of ${key} are not acknowledged`);
      if (unread > 0) found.push(`${unread} of ${length} messages of ${key} are not read`);
      if (consumers > workers) found.push(`${key} has ${consumers} consumers for ${workers} workers`);
    }
  }
  return found;
}

interface ConsumerGroup {
  name: string;
  pending: number;
  unread: number;
  consumers: number;
}

/** The groups of a stream. Redis replies with lists of alternating names and values. */
async function groupsOf(redis: RedisProcess, key: string): Promise<ConsumerGroup[]> {
  const groups = await redis.send("xinfo", "groups", key);
  const queries = (Array.isArray(groups) ? groups : []).map(async (fields: unknown[]): Promise<ConsumerGroup> => {
    const of = (name: string) => fields[fields.indexOf(name) + 1];
    // The field `lag` also counts trimmed messages, and Redis 6.2 does not have it.
    const unread = await redis.send("xrange", key, `(${of("last-delivered-id")}`, "+");
    return {
      name: String(of("name")),
      pending: Number(of("pending")),
      unread: Array.isArray(unread) ? unread.length : 0,
      consumers: Number(of("consumers")),
    };
  });
  return Promise.all(queries);
}

/** The runs that have not ended, with their state and last entry: one line each. */
export async function unfinishedRuns(database: string): Promise<string[]> {
  const { runs, entries } = await readRows(database);
  return runs
    .filter(({ state }) => !isFinal(state))
    .map((run) => {
      const last = entries.filter(({ runId }) => runId === run.id).at(-1);
      const recorded = last === undefined ? "nothing recorded" : `last recorded ${last.address} at ${last.at}`;
      return `${described(run)}; ${recorded}; program ${run.input}`;
    });
}

function described(run: Run): string {
  const { id, state, fence, revision, waits, dueAt, inbox, crashes, lostLeases, updatedAt, parent } = run;
  const now = Date.now();
  const due = dueAt === null ? "never due" : `due in ${dueAt - now} ms`;
  const open = waits.map(({ address, until }) => `${address}${until === null ? "" : ` until ${until - now} ms`}`);
  return (
    `${id}${parent === null ? "" : ` child of ${parent.id}`}: ${JSON.stringify(state)}, ${due}, fence ${fence}, ` +
    `revision ${revision}, inbox ${inbox}, crashes ${crashes}, lost leases ${lostLeases}, ` +
    `changed ${now - updatedAt} ms ago, ` +
    `waits for ${open.length === 0 ? "nothing" : open.join(" ")}`
  );
}
