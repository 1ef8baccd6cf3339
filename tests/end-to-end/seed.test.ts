/** The quick start of the worker's page, as written, on a machine without Redis. */

import { copyFile, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runFile } from "./processes.ts";
import { openScene, type Scene } from "./scene.ts";
import { onboardingWorkflow, onboardingWorkflowV1 } from "./seed/workflows.ts";

let scene: Scene;

beforeEach(async () => {
  scene = await openScene();
});
afterEach(() => scene.close());

describe("the quick start and the graceful shutdown, one after the other in one file", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "complete a run without Redis, say once that it is missing, and end with 0 on %s",
    async (signal) => {
      const seat = await scene.serve();
      const main = await quickStart(new URL(seat.url).port);
      const app = scene.keep(runFile(main));
      await app.says(/worker started/);
      const aiki = await scene.client(seat.url);
      const started = await onboardingWorkflowV1.start(aiki, { name: "Ada" });
      expect(await started.result()).toBe("Hello, Ada!");
      expect(await started.view()).toMatchObject({ name: onboardingWorkflow.name, status: "completed" });
      await app.says(/Redis is not reachable/);
      app.signal(signal);
      expect(await app.exited).toEqual({ code: 0, signal: null });
      expect(app.output.match(/redis/gi)).toHaveLength(1);
    },
    60_000,
  );
});

/** The page's two blocks with `workflows.ts` beside them; only the two ports are the test's own. */
async function quickStart(port: string): Promise<string> {
  const page = await readFile(join(import.meta.dirname, "seed/quick-start.md"), "utf8");
  const blocks = [...page.matchAll(/```typescript\n(.*?)```/gs)].map(([, code]) => code);
  expect(blocks).toHaveLength(2);
  const code = blocks.join("\n");
  expect(code).toContain("http://localhost:9090");
  expect(code).toContain("port: 6379");
  const main = scene.file("main.ts");
  await writeFile(main, code.replace("9090", port).replace("6379", await closedPort()));
  await writeFile(scene.file("package.json"), '{ "type": "module" }');
  await copyFile(join(import.meta.dirname, "seed/workflows.ts"), scene.file("workflows.ts"));
  await symlink(join(import.meta.dirname, "../../node_modules"), scene.file("node_modules"));
  return main;
}

/** Was free a moment ago. */
function closedPort(): Promise<string> {
  return new Promise((resolve) => {
    const socket = createServer().listen(0, "127.0.0.1", () => {
      const address = socket.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      socket.close(() => resolve(String(port)));
    });
  });
}
