/** A server while its PostgreSQL is locked, restarted or down: callers are asked to retry, and nothing is lost. */

import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { client } from "@aikirun/client";
import { type LogFields, type Logger, silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { server } from "@aikirun/server";
import { v7 } from "uuid";
import { describe, expect, inject, it } from "vitest";
import { createEngine } from "../../packages/server/src/engine/engine.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { findBinaries } from "../real/binaries.ts";
import { startCluster } from "../real/cluster.ts";
import { testDatabase } from "../real/postgres.ts";
import { loadOn, Stage } from "./actors.ts";

const json = { "content-type": "application/json" };

describe("a server on PostgreSQL", () => {
  it("a server replies 503 with Retry-After within two seconds while its tables are locked", async (context) => {
    const database = await testDatabase();
    if (database === null) return context.skip();
    const aikiServer = await server({ database: database.url, logger: silentLogger, databaseConnections: 4 });
    const { url } = await aikiServer.listen({ port: 0 });
    const start = () => {
      const run = { id: v7(), name: "order", versionId: "1" };
      return fetch(`${url}/v1/start`, { method: "POST", headers: json, body: JSON.stringify({ runs: [run] }) });
    };
    expect((await start()).status).toBe(200);
    const locked = database.sql("BEGIN; LOCK TABLE aiki.run; SELECT pg_sleep(2.5); COMMIT");
    await isLocked(database.sql);
    const before = performance.now();
    const reply = await start();
    expect(performance.now() - before).toBeLessThan(2_000);
    expect([reply.status, reply.headers.get("retry-after"), await reply.json()]).toEqual([
      503,
      "1",
      { error: { code: "UNAVAILABLE", message: expect.any(String) } },
    ]);
    await locked;
    expect((await start()).status).toBe(200);
    await aikiServer.close();
    await database.drop();
  });

  it("a server recovers after PostgreSQL has crashed and restarted, with all acknowledged data", {
    timeout: 60_000,
  }, async (context) => {
    const { directory } = inject("services");
    const place = await mkdtemp(join(directory, "crashing-"));
    const binaries = await findBinaries(place);
    if (binaries === null) return context.skip();
    const cluster = await startCluster(binaries, place, process.pid);
    const aikiServer = await server({ database: cluster.url, logger: silentLogger });
    const aiki = await client({ server: aikiServer, logger: silentLogger });
    const stage = new Stage(aiki.api);
    const load = loadOn(stage);
    const { acknowledged } = load;
    for (let round = 0; round < 3; round += 1) {
      const had = acknowledged.length;
      await until(() => acknowledged.length > had + 20);
      await cluster.control("-m", "immediate", "restart");
      const downAt = performance.now();
      await until(() => acknowledged.length > had + 40);
      expect(performance.now() - downAt).toBeLessThan(5_000);
    }
    await load.end();
    const { results } = await aiki.api.read({ runs: acknowledged.slice(-1_000).map((runId) => ({ runId })) });
    expect(results.filter((result) => !result.ok)).toEqual([]);
    await aiki.close();
    await aikiServer.close();
    await cluster.control("-m", "immediate", "stop");
    await rm(place, { recursive: true });
  });

  it("a server logs once that PostgreSQL is down, and logs the number of failures when it is back", {
    timeout: 60_000,
  }, async (context) => {
    const { directory } = inject("services");
    const place = await mkdtemp(join(directory, "down-"));
    const binaries = await findBinaries(place);
    if (binaries === null) return context.skip();
    const cluster = await startCluster(binaries, place, process.pid);
    const all: OutageLine[] = [];
    // The missing notifications of other servers are logged once, separately.
    const logged = (): OutageLine[] =>
      all.filter(({ message }) => !message.startsWith("cannot listen to notifications"));
    const aikiServer = await server({ database: cluster.url, auth: true, logger: gathering(all) });
    const { secret } = await aikiServer.keys.create({ name: "n" });
    const { url } = await aikiServer.listen({ port: 0 });
    const authorization = `Bearer ${secret}`;
    const ask = async (verb: string, body: unknown) => {
      const method = { method: "POST", headers: { ...json, authorization }, body: JSON.stringify(body) };
      return (await fetch(`${url}/v1/${verb}`, method)).status;
    };
    const claim = { claimId: v7(), session: v7(), worker: "w", serves: [], shardKeys: [], limit: 1, leaseMs: 30_000 };
    const askAll = async () => [
      await ask("start", { runs: [{ id: v7(), name: "order", versionId: "1" }] }),
      await ask("find", {}),
      await ask("claim", { ...claim, claimId: v7(), waitMs: 0 }),
      (await fetch(`${url}/health/ready`)).status,
    ];
    expect(await askAll()).toEqual([200, 200, 200, 200]);
    all.length = 0;
    await cluster.control("-m", "immediate", "stop");
    // The server replies to a claim from memory if no run can be queued for it.
    const answered = expect.any(Number);
    for (let round = 0; round < 50; round += 1) expect(await askAll()).toEqual([503, 503, answered, 503]);
    // While PostgreSQL shuts down, its errors may differ from those when it is down.
    const warned = logged().length;
    expect(logged().slice(2)).toEqual([]);
    expect(all.filter(({ message }) => message.startsWith("cannot listen")).length).toBeLessThanOrEqual(1);
    expect(new Set(logged().map(({ level, message }) => `${level} ${message}`))).toEqual(
      new Set(["warn the database fails"]),
    );
    await cluster.control(
      "start",
      "-o",
      `-c listen_addresses=127.0.0.1 -c unix_socket_directories= -p ${new URL(cluster.url).port}`,
    );
    while (logged().length === warned) await askAll();
    const faults = expect.any(Number);
    expect(logged().slice(warned)).toEqual([
      { level: "info", message: "the database works again", fields: { faults, failedForMs: expect.any(Number) } },
    ]);
    expect(Number(logged().at(-1)?.fields?.faults)).toBeGreaterThanOrEqual(150);
    await aikiServer.close();
    await cluster.control("-m", "immediate", "stop");
    await rm(place, { recursive: true });
  });

  it("a start that PostgreSQL cannot store fails alone, not the others of its transaction", async (context) => {
    const database = await testDatabase();
    if (database === null) return context.skip();
    const storage = await openPostgres({ url: database.url, connections: 4 });
    const engine = createEngine({ storage, env: systemEnv({ id: v7 }), logger: silentLogger });
    const stage = new Stage(engine.api("default"));
    const priorities = [1, 2, 3e9, 4];
    const starts = await Promise.allSettled(priorities.map((priority) => stage.tryStart(stage.spec({ priority }))));
    expect(starts.map((start) => (start.status === "fulfilled" ? start.value.ok : start.reason.code))).toEqual([
      true,
      true,
      "UNAVAILABLE",
      true,
    ]);
    await engine.close();
    await storage.close();
    await database.drop();
  });

  it("a server does not start without its database, and the error names the address", async () => {
    const starting = server({ database: "postgres://aiki:hunter2@127.0.0.1:1/aiki", logger: silentLogger });
    await expect(starting).rejects.toMatchObject({
      code: "STORAGE_UNAVAILABLE",
      message: expect.stringMatching(/^PostgreSQL at 127\.0\.0\.1:1\/aiki: .*ECONNREFUSED/),
    });
  });
});

interface OutageLine {
  level: "info" | "warn" | "error";
  message: string;
  fields: LogFields | undefined;
}

function gathering(lines: OutageLine[]): Logger {
  const at = (level: OutageLine["level"]) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields });
  };
  const logger: Logger = {
    ...silentLogger,
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => logger,
  };
  return logger;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function isLocked(sql: (text: string) => Promise<unknown[]>): Promise<void> {
  const locks =
    "SELECT 1 FROM pg_locks WHERE relation = 'aiki.run'::regclass AND mode = 'AccessExclusiveLock' AND granted";
  while ((await sql(locks)).length === 0);
}
