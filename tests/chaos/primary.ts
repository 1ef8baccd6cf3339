/** The PostgreSQL primary: the first one, or the standby that was promoted last. */

import { join } from "node:path";
import { until } from "../end-to-end/processes.ts";
import { type Cluster, startCluster, startStandby } from "../real/cluster.ts";
import { query } from "../real/postgres.ts";

export interface Postgres extends Cluster {
  /** Executes SQL without a proxy. */
  sql(text: string): Promise<Array<Record<string, unknown>>>;
}

/** A synchronous standby: it has confirmed every acknowledged commit of the primary. */
export interface Standby {
  /** Crashes the primary and promotes the standby. */
  takeOver(): Promise<void>;
}

export interface Primary {
  readonly now: Postgres;
  /** Creates a standby and waits until it is in sync. */
  standby(): Promise<Standby>;
}

export async function openPrimary(binaries: string, directory: string): Promise<Primary> {
  const place = (n: number) => join(directory, `postgres-${n}`);
  let made = 1;
  let now = withSql(await startCluster(binaries, place(made), process.pid));
  return {
    get now() {
      return now;
    },
    async standby() {
      made += 1;
      const [primary, standby] = [now, withSql(await startStandby(binaries, place(made), process.pid, now))];
      try {
        await waitUntilInSync(primary);
      } catch (thrown) {
        await synchronise(primary, "");
        await standby.control("-m", "immediate", "stop");
        throw thrown;
      }
      return {
        async takeOver() {
          await primary.control("-m", "immediate", "stop");
          await standby.control("promote");
          now = standby;
        },
      };
    },
  };
}

/** After this, the standby has all commits that were acknowledged, and all that will be. */
async function waitUntilInSync(primary: Postgres): Promise<void> {
  await synchronise(primary, "standby");
  const inSync = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'";
  await until("the standby is in sync", async () => (await primary.sql(inSync)).length === 1, 10_000);
  await primary.sql("SELECT pg_logical_emit_message(true, 'chaos', 'in sync')");
}

async function synchronise(primary: Postgres, names: string): Promise<void> {
  await primary.sql(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`);
  await primary.sql("SELECT pg_reload_conf()");
}

function withSql(cluster: Cluster): Postgres {
  const url = new URL(cluster.url);
  url.searchParams.set("application_name", "chaos");
  return { ...cluster, sql: (text) => query(url.href, text) };
}
