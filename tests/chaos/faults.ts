/** All faults of the nemesis. Each fault lasts for a while, and then restores the target. */

import { wakeUpGroup } from "@aikirun/lib/protocol";
import type { Actions } from "../end-to-end/facts.ts";
import { until } from "../end-to-end/processes.ts";
import type { NetworkProxy } from "../real/proxy.ts";
import type { RedisProcess } from "../real/redis-process.ts";
import type { Prng } from "../simulate/prng.ts";
import type { Engines } from "./engines.ts";
import { type ChaosFleet, leaseMs, type Member, type Role } from "./fleet.ts";
import type { Harm } from "./harm.ts";
import type { Postgres } from "./primary.ts";

/** The processes and engines that faults affect. */
export interface FaultTargets {
  engines: Engines;
  fleet: ChaosFleet;
  harms: Harm[];
  actions: Actions;
}

/** A fault with its target. */
export interface PlannedFault {
  /** The name of the target. */
  to: string;
  /** Injects and ends the fault. Resolves with whether it took effect. */
  run(): Promise<boolean>;
}

export interface FaultKind {
  name: string;
  /** How often the nemesis chooses this kind, relative to other kinds. */
  weight: number;
  /** At most one fault with the same value is active at a time. */
  exclusive?: string;
  /** Chooses a target. Null if there is none at this moment. */
  plan(targets: FaultTargets, prng: Prng): PlannedFault | null;
}

/** The faults that are possible with these engines. */
export function faultKinds(engines: Engines): FaultKind[] {
  return [
    ...processFaults,
    ...proxyFaults("server", ({ fleet }) => fleet.proxies, ["/v1/start", "/v1/claim", "/v1/report", "/v1/signal"]),
    ...(engines.postgres === null ? [] : postgresFaults),
    ...(engines.standby === null ? [] : [primaryLost]),
    ...(engines.redis === null ? [] : redisFaults),
  ];
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Records that this fault may affect processes until the promise of `work` settles. */
async function recordHarm<Result>(
  { harms }: FaultTargets,
  what: string,
  pid: number | null,
  work: () => Promise<Result>,
): Promise<Result> {
  const harm = { what, pid, from: Date.now(), until: Number.POSITIVE_INFINITY };
  harms.push(harm);
  try {
    return await work();
  } finally {
    harm.until = Date.now();
  }
}

/** The process that a fault affects. Null for a server, because its fault affects all workers. */
function affectedPid({ role, process }: Member): number | null {
  return role === "worker" ? (process?.pid ?? null) : null;
}

function oneOf({ fleet }: FaultTargets, role: Role, prng: Prng): Member | null {
  const running = fleet.members.filter((member) => member.role === role && member.isRunning);
  return running.length === 0 ? null : prng.pick(running);
}

function onMember(
  name: string,
  weight: number,
  role: Role,
  work: (targets: FaultTargets, member: Member, prng: Prng) => Promise<boolean>,
): FaultKind {
  return {
    name,
    weight,
    plan(targets, prng) {
      const member = oneOf(targets, role, prng);
      if (member === null) return null;
      return {
        to: member.name,
        run: () => recordHarm(targets, name, affectedPid(member), () => work(targets, member, prng)),
      };
    },
  };
}

async function kill(_: FaultTargets, member: Member, prng: Prng): Promise<boolean> {
  await member.kill();
  await wait(prng.pick([0, 300, 1_500]));
  await member.start();
  return true;
}

async function terminate(_: FaultTargets, member: Member, prng: Prng): Promise<boolean> {
  await member.terminate();
  await wait(prng.pick([0, 300]));
  await member.start();
  return true;
}

async function stop({ actions }: FaultTargets, member: Member, prng: Prng): Promise<boolean> {
  const pid = member.process?.pid ?? 0;
  const stopRecord = { pid, from: Date.now(), until: Number.POSITIVE_INFINITY };
  actions.stops.push(stopRecord);
  await member.pause(member.role === "worker" ? leaseMs * (1.2 + prng.next()) : prng.between(800, 2_500));
  stopRecord.until = Date.now();
  return true;
}

const processFaults: FaultKind[] = [
  onMember("worker killed", 10, "worker", kill),
  onMember("worker stopped past its lease", 8, "worker", stop),
  onMember("worker terminated", 4, "worker", terminate),
  onMember("server killed", 6, "server", kill),
  onMember("server stopped", 4, "server", stop),
  onMember("server terminated", 2, "server", terminate),
  {
    name: "all workers killed at once",
    weight: 1,
    plan(targets) {
      const workers = targets.fleet.members.filter(({ role, isRunning }) => role === "worker" && isRunning);
      if (workers.length < 2) return null;
      const each = async (worker: Member) => {
        await recordHarm(targets, "killed with the others", affectedPid(worker), () => worker.kill());
        await worker.start();
      };
      return {
        to: workers.map(({ name }) => name).join(", "),
        run: async () => {
          await Promise.all(workers.map(each));
          return true;
        },
      };
    },
  },
];

/** Faults of a network proxy. Faults of Redis are not recorded as harms, because Redis stores no data of runs. */
function proxyFaults(
  to: string,
  proxies: (targets: FaultTargets) => readonly NetworkProxy[],
  texts: readonly string[],
): FaultKind[] {
  const isHarmless = to === "Redis";
  const on = (
    what: string,
    weight: number,
    work: (proxy: NetworkProxy, prng: Prng) => Promise<boolean>,
  ): FaultKind => ({
    name: `${what} ${to}`,
    weight,
    plan(targets, prng) {
      const all = proxies(targets);
      if (all.length === 0) return null;
      const proxy = prng.pick(all);
      const run = () => work(proxy, prng);
      const name = `proxy ${all.indexOf(proxy) + 1}`;
      return { to: name, run: isHarmless ? run : () => recordHarm(targets, `${what} ${to}`, null, run) };
    },
  });
  return [
    on("reply lost of", 14, async (proxy, prng) => {
      const before = proxy.cuts;
      proxy.loseReplyTo(prng.pick(texts));
      return until("a reply is lost", () => proxy.cuts > before, 3_000).catch(() => false);
    }),
    on("connections cut to", 5, async (proxy) => proxy.cutAll() > 0),
    on("half-open connections to", 3, async (proxy, prng) => {
      proxy.dropAll(true);
      await wait(prng.between(800, 2_500));
      proxy.dropAll(false);
      return true;
    }),
  ];
}

function onPostgres(
  name: string,
  weight: number,
  work: (postgres: Postgres, prng: Prng) => Promise<boolean>,
): FaultKind {
  return {
    name,
    weight,
    exclusive: "PostgreSQL",
    plan(targets, prng) {
      const { postgres } = targets.engines;
      if (postgres === null) return null;
      return { to: "PostgreSQL", run: () => recordHarm(targets, name, null, () => work(postgres, prng)) };
    },
  };
}

const postgresFaults: FaultKind[] = [
  ...proxyFaults("PostgreSQL", ({ fleet }) => fleet.databaseProxies, ["COMMIT\0"]),
  onPostgres("PostgreSQL restarted at once", 2, async ({ control }) => {
    await control("-m", "immediate", "restart");
    return true;
  }),
  onPostgres("sessions of PostgreSQL ended", 5, async ({ sql }) => {
    const ended = await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aiki'");
    return ended.length > 0;
  }),
  onPostgres("table of runs locked", 2, async ({ sql }, prng) => {
    const seconds = prng.pick([0.5, 1.8]);
    await sql(`BEGIN; LOCK TABLE aiki.run IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(${seconds}); COMMIT`);
    return true;
  }),
  onPostgres("PostgreSQL takes no writes", 1, async ({ sql }, prng) => {
    await sql("ALTER SYSTEM SET default_transaction_read_only = on");
    await sql("SELECT pg_reload_conf()");
    await wait(prng.pick([400, 1_500]));
    await sql("ALTER SYSTEM RESET default_transaction_read_only");
    await sql("SELECT pg_reload_conf()");
    return true;
  }),
];

/** The promotion loses no acknowledged data. The harm begins with the promotion, not when the standby is created. */
const primaryLost: FaultKind = {
  name: "PostgreSQL lost, its standby promoted",
  weight: 1,
  exclusive: "PostgreSQL",
  plan(targets, prng) {
    const { engines, fleet } = targets;
    const make = engines.standby;
    if (make === null) return null;
    const run = async (): Promise<boolean> => {
      const standby = await make();
      await wait(prng.between(100, 1_000));
      return recordHarm(targets, primaryLost.name, null, async () => {
        await standby.takeOver();
        for (const proxy of fleet.databaseProxies) proxy.forwardTo(engines.database);
        return true;
      });
    };
    return { to: "PostgreSQL", run };
  },
};

function onRedis(name: string, weight: number, work: (redis: RedisProcess, prng: Prng) => Promise<boolean>): FaultKind {
  return {
    name,
    weight,
    exclusive: "Redis",
    plan({ engines: { redis } }, prng) {
      return redis === null ? null : { to: "Redis", run: () => work(redis, prng) };
    },
  };
}

/** The keys of all existing streams. */
async function streamsIn(redis: RedisProcess): Promise<string[]> {
  const keys = await redis.send("keys", "chaos:*");
  return Array.isArray(keys) ? keys.map(String) : [];
}

/**
 * Faults that are not recorded as harms: Redis carries only wake-ups and notifications, and their loss costs latency.
 */
const redisFaults: FaultKind[] = [
  ...proxyFaults("Redis", ({ fleet }) => (fleet.redisProxy === null ? [] : [fleet.redisProxy]), [
    "xadd",
    "xreadgroup",
    "xack",
  ]),
  onRedis("Redis wiped", 4, async (redis) => {
    await redis.send("flushall");
    return true;
  }),
  onRedis("Redis killed", 2, async (redis, prng) => {
    await redis.kill();
    await wait(prng.pick([0, 500, 2_000]));
    await redis.start();
    return true;
  }),
  onRedis("Redis stopped", 3, async (redis, prng) => {
    redis.signal("SIGSTOP");
    await wait(prng.between(600, 2_500));
    redis.signal("SIGCONT");
    return true;
  }),
  onRedis("Redis out of memory", 2, async (redis, prng) => {
    await redis.send("config", "set", "maxmemory", "1");
    await wait(prng.between(1_000, 3_000));
    await redis.send("config", "set", "maxmemory", "0");
    return true;
  }),
  onRedis("groups of Redis destroyed", 3, async (redis) => {
    const keys = await streamsIn(redis);
    for (const key of keys) await redis.send("xgroup", "destroy", key, wakeUpGroup);
    return keys.length > 0;
  }),
  onRedis("streams of Redis trimmed", 2, async (redis) => {
    const keys = await streamsIn(redis);
    for (const key of keys) await redis.send("xtrim", key, "maxlen", "0");
    return keys.length > 0;
  }),
];
