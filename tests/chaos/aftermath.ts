/** What is left when everything is healed: nothing open, nothing held, nothing unread. */

import { wakeUpGroup, wakeUpStreamLength } from "@aikirun/lib/protocol";
import { isFinal } from "../../packages/server/src/core/draft.ts";
import type { Run } from "../../packages/server/src/core/run.ts";
import { readRows } from "../end-to-end/rows.ts";
import type { RedisProcess } from "../real/redis-process.ts";
import type { Postgres } from "./primary.ts";

/** Connections that one server may have open at most, with those by which it hears of others. */
const sessionsOfOne = 8;

/** What of a database is not at rest, once nothing is asked of it. */
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

/** What of Redis is not at rest: messages that nobody read or acknowledged, readers that are no more. */
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
      if (consumers > workers) found.push(`${key} has ${consumers} readers for ${workers} workers`);
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

/** Redis answers with lists of names and values in turn. */
async function groupsOf(redis: RedisProcess, key: string): Promise<ConsumerGroup[]> {
  const groups = await redis.send("xinfo", "groups", key);
  const asked = (Array.isArray(groups) ? groups : []).map(async (fields: unknown[]): Promise<ConsumerGroup> => {
    const of = (name: string) => fields[fields.indexOf(name) + 1];
    // Its lag would tell, but counts what was trimmed, and Redis 6.2 has none.
    const unread = await redis.send("xrange", key, `(${of("last-delivered-id")}`, "+");
    return {
      name: String(of("name")),
      pending: Number(of("pending")),
      unread: Array.isArray(unread) ? unread.length : 0,
      consumers: Number(of("consumers")),
    };
  });
  return Promise.all(asked);
}

/** Runs that have not ended, and all that is known of why: a line each. */
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
