/** The quick start of the worker's page, as written: on a machine without Redis, and with one. */

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
import { groundOn, topologies } from "./topology.ts";

let scene: Scenario;
let redis: RedisProcess | null = null;

afterEach(async () => {
  await scene.close();
  await redis?.kill();
  redis = null;
});

const ends = ["SIGTERM", "SIGINT"] as const;

describe("the quick start and the graceful shutdown, one after the other in one file", () => {
  it.each(ends)(
    "complete a run without Redis, say once that it is missing, and end with 0 on %s",
    async (signal) => {
      scene = await openScenario();
      const app = await carriedOut(await freePort());
      await app.says(/Redis is not reachable/);
      await ended(app, signal);
      expect(app.output.match(/redis/gi)).toHaveLength(1);
    },
    60_000,
  );

  const [, , onRedis] = topologies;
  it.skipIf(onRedis?.isThere !== true).each(ends)(
    "complete a run on PostgreSQL that they heard of through Redis, have nothing to say of it, and end with 0 on %s",
    async (signal) => {
      redis = await privateRedis();
      const port = redis?.address.port ?? 0;
      const redisGround = { host: "localhost", port, prefix: "aiki" };
      const open = () => groundOn(redisGround, { type: "redis_streams" });
      scene = await openScenario({ name: "PostgreSQL with a Redis of its own", isThere: true, open });
      const app = await carriedOut(port);
      const [stream = ""] = await streams();
      expect(stream).toContain("onboarding");
      expect(await redis?.send("xinfo", "consumers", stream, wakeUpGroup)).toHaveLength(1);
      // What the worker read it has acknowledged and deleted.
      await until("the stream is empty", async () => (await redis?.send("xlen", stream)) === 0);
      await ended(app, signal);
      expect(app.output).not.toMatch(/redis/i);
    },
    60_000,
  );
});

/** The page at work for one run, which is done. */
async function carriedOut(redisPort: number): Promise<Running> {
  const seat = await scene.serve();
  const main = await quickStart(new URL(seat.url).port, redisPort);
  const app = scene.stopAtClose(runFile(main));
  await app.says(/worker started/);
  const aiki = await scene.client(seat.url);
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

/** The page's two blocks with `workflows.ts` beside them; only the two ports are the test's own. */
async function quickStart(port: string, redisPort: number): Promise<string> {
  const page = await readFile(join(import.meta.dirname, "seed/quick-start.md"), "utf8");
  const blocks = [...page.matchAll(/```typescript\n(.*?)```/gs)].map(([, code]) => code);
  expect(blocks).toHaveLength(2);
  const code = blocks.join("\n");
  expect(code).toContain("http://localhost:9090");
  expect(code).toContain("port: 6379");
  const main = scene.file("main.ts");
  await writeFile(main, code.replace("9090", port).replace("6379", String(redisPort)));
  await writeFile(scene.file("package.json"), '{ "type": "module" }');
  await copyFile(join(import.meta.dirname, "seed/workflows.ts"), scene.file("workflows.ts"));
  await symlink(join(import.meta.dirname, "../../node_modules"), scene.file("node_modules"));
  return main;
}
