import { silentLogger } from "@aikirun/lib";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { TestSession } from "../../test/rig.ts";
import type { Notifier } from "../delivery/notifier.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import { createEngine } from "./engine.ts";

describe("a pending claim", () => {
  it("a pending claim that takes another run than the one that woke it publishes that run's queue", async () => {
    const env = virtualEnv();
    const published: string[] = [];
    const notifier: Notifier = {
      publish: ({ queues }) => void published.push(...queues.map(({ name }) => name)),
      onMessage: () => {},
      wakeUpPrefix: "aiki",
      close: async () => {},
    };
    const engine = createEngine({ storage: memoryStorage({ env }), env, logger: silentLogger, notifier });
    const session = new TestSession(engine.api("default"), env);
    const serves = ["order", "refund"].map((name) => ({ name, versionId: "1" }));
    await session.claim({ serves });
    const pending = session.claim({ serves, limit: 1, waitMs: 10_000 });
    await env.settle();
    await session.api.start({ runs: [session.spec(), session.spec({ name: "refund", priority: 5 })] });
    expect(await pending).toMatchObject([{ name: "refund" }]);
    expect(published).toEqual(["refund", "order"]);
    await engine.close();
  });
});
