/** The quick start of the worker's page, as written, without Redis and with Redis. */

import { copyFile, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { wakeUpGroup } from "@aikirun/lib/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { freePort } from "../real/machine.ts";
import { privateRedis } from "../real/redis.ts";
import type { RedisProcess } from "../real/redis-process.ts";
import { type Running, runFile, until } from "./processes.ts";
import { openScenario, type Scenario } from "./scenario.ts";
import { onboardingWorkflow, onboardingWorkflowV1 } from "./seed/workflows.ts";
import { backendOn, topologies } from "./topology.ts";

let scenario: Scenario;
let redis: RedisProcess | null = null;

afterEach(async () => {
  await scenario.close();
  await redis?.kill();
  redis = null;
});

const ends = ["SIGTERM", "SIGINT"] as const;

describe("the quick start and the graceful shutdown, one after the other in one file", () => {
  it.each(ends)(
    "the quick start completes a run without Redis, logs once that it is missing, and exits with 0 on %s",
    async (signal) => {
      scenario = await openScenario();
      const app = await carriedOut(await freePort());
      await app.prints(/Redis is not reachable/);
      await ended(app, signal);
      expect(app.output.match(/redis/gi)).toHaveLength(1);
    },
    60_000,
  );

  const [, , onRedis] = topologies;
  it.skipIf(onRedis?.isAvailable !== true).each(ends)(
    "the quick start completes a run on PostgreSQL with Redis, logs nothing about Redis, and exits with 0 on %s",
    async (signal) => {
      redis = await privateRedis();
      const port = redis?.address.port ?? 0;
      const redisGround = { host: "localhost", port, prefix: "aiki" };
      const open = () => backendOn(redisGround, { type: "redis_streams" });
      scenario = await openScenario({ name: "PostgreSQL with a Redis of its own", isAvailable: true, open });
      const app = await carriedOut(port);
      const [stream = ""] = await streams();
      expect(stream).toContain("onboarding");
      expect(await redis?.send("xinfo", "consumers", stream, wakeUpGroup)).toHaveLength(1);
      // The worker has acknowledged and deleted all that it read.
      await until("the stream is empty", async () => (await redis?.send("xlen", stream)) === 0);
      await ended(app, signal);
      expect(app.output).not.toMatch(/redis/i);
    },
    60_000,
  );
});

/** Runs the page until one run has completed. */
async function carriedOut(redisPort: number): Promise<Running> {
  const server = await scenario.serve();
  const main = await quickStart(new URL(server.url).port, redisPort);
  const app = scenario.stopAtClose(runFile(main));
  await app.prints(/worker started/);
  const aiki = await scenario.client(server.url);
  const started = await onboardingWorkflowV1.start(aiki, { name: "Ada" });
  expect(await started.result()).toBe("Hello, Ada!");
  expect(await started.view()).toMatchObject({ name: onboardingWorkflow.name, status: "completed" });
  return app;
}

async function ended(app: Running, signal: (typeof ends)[number]): Promise<void> {
  app.signal(signal);
  expect(await app.exited).toEqual({ code: 0, signal: null });
}

async function streams(): Promise<string[]> {
  const keys = await redis?.send("keys", "aiki:{*");
  return Array.isArray(keys) ? keys.map(String) : [];
}

/** Writes the two code blocks of the page and `workflows.ts` to files. Only the two ports are changed. */
async function quickStart(port: string, redisPort: number): Promise<string> {
  const page = await readFile(join(import.meta.dirname, "seed/quick-start.md"), "utf8");
  const blocks = [...page.matchAll(/```typescript\n(.*?)```/gs)].map(([, code]) => code);
  expect(blocks).toHaveLength(2);
  const code = blocks.join("\n");
  expect(code).toContain("http://localhost:9090");
  expect(code).toContain("port: 6379");
  const main = scenario.file("main.ts");
  await writeFile(main, code.replace("9090", port).replace("6379", String(redisPort)));
  await writeFile(scenario.file("package.json"), '{ "type": "module" }');
  await copyFile(join(import.meta.dirname, "seed/workflows.ts"), scenario.file("workflows.ts"));
  await symlink(join(import.meta.dirname, "../../node_modules"), scenario.file("node_modules"));
  return main;
}
