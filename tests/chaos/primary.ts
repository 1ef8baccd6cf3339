/** The PostgreSQL that takes writes: the first one, or the last standby that was promoted in the place of another. */

import { join } from "node:path";
import { until } from "../end-to-end/processes.ts";
import { type Cluster, startCluster, startStandby } from "../real/cluster.ts";
import { query } from "../real/postgres.ts";

export interface Postgres extends Cluster {
  /** Carries out SQL past all proxies. */
  sql(text: string): Promise<Array<Record<string, unknown>>>;
}

/** It has confirmed every commit of the primary, and no other is acknowledged. */
export interface Standby {
  /** The primary crashes, and the standby becomes the primary. */
  takeOver(): Promise<void>;
}

export interface Primary {
  readonly now: Postgres;
  /** Makes a standby, and waits until it is in step. */
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
        await bringIntoStep(primary);
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

/** From then on nothing is acknowledged that the standby does not have; nor is anything that was before. */
async function bringIntoStep(primary: Postgres): Promise<void> {
  await synchronise(primary, "standby");
  const inStep = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'";
  await until("the standby is in step", async () => (await primary.sql(inStep)).length === 1, 10_000);
  await primary.sql("SELECT pg_logical_emit_message(true, 'chaos', 'in step')");
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
