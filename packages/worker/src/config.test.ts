import { silentLogger } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { virtualEnv } from "../test/virtual-env.ts";
import { parseConfig } from "./config.ts";
import { paceOf } from "./pace.ts";
import { noticeRedis } from "./redis-notice.ts";

const made = { id: "made", hasRedis: false };

describe("the configuration of a worker", () => {
  it("has the defaults of the documentation", () => {
    expect(parseConfig({}, made)).toEqual({
      id: "made",
      maxConcurrentWorkflowRuns: 1,
      heartbeatIntervalMs: 30_000,
      leaseMs: 90_000,
      gracefulShutdownTimeoutMs: 5_000,
      subscriber: {
        type: "adaptive_polling",
        minPollIntervalMs: 50,
        maxPollIntervalMs: 5_000,
        backoffMultiplier: 2,
        emptyPollThreshold: 3,
        jitterFactor: 0.2,
        maxRetryIntervalMs: 2_000,
        atCapacityIntervalMs: 0,
      },
      shardKeys: [],
    });
  });

  it("hears through Redis by default when the client knows of it", () => {
    expect(parseConfig({}, { id: "made", hasRedis: true }).subscriber).toEqual({
      type: "redis_streams",
      claimMinIdleTimeMs: 90_000,
      blockTimeMs: 1_000,
      maxRetryIntervalMs: 2_000,
      atCapacityIntervalMs: 0,
    });
  });

  it("takes what it is given, and is frozen", () => {
    const config = parseConfig(
      { id: "w", workflowRun: { heartbeatIntervalMs: 1_000 }, shardKeys: ["eu"], subscriber: { type: "polling" } },
      made,
    );
    expect(config).toMatchObject({ id: "w", leaseMs: 3_000, shardKeys: ["eu"] });
    expect([config, config.subscriber, config.shardKeys].map(Object.isFrozen)).toEqual([true, true, true]);
  });

  it.each([
    [null, "worker must be an object"],
    [{ id: "" }, "worker.id must be a string of 1 to 255"],
    [{ maxConcurrentWorkflowRuns: 0 }, "worker.maxConcurrentWorkflowRuns must be a number from 1 to 1000"],
    [{ maxConcurrentWorkflowRuns: 1.5 }, "worker.maxConcurrentWorkflowRuns must be a whole number"],
    [{ workflowRun: { heartbeatIntervalMs: 1 } }, "worker.workflowRun.heartbeatIntervalMs"],
    [{ workflowRun: { heartbeatInterval: 1 } }, 'worker.workflowRun has no field "heartbeatInterval"'],
    [{ gracefulShutdownTimeoutMs: -1 }, "worker.gracefulShutdownTimeoutMs"],
    [{ shardKeys: "eu" }, "worker.shardKeys must be an array"],
    [{ shardKeys: ["eu", "eu"] }, "worker.shardKeys must be an array"],
    [{ concurrency: 4 }, 'worker has no field "concurrency"'],
    [{ subscriber: "polling" }, "worker.subscriber must be an object"],
    [{ subscriber: {} }, "worker.subscriber.type is missing"],
    [{ subscriber: { type: "kafka" } }, 'must be "redis_streams" or "adaptive_polling" or "polling"'],
    [{ subscriber: { type: "polling", blockTimeMs: 5 } }, 'has no field "blockTimeMs"'],
    [{ subscriber: { type: "polling", intervalMs: 0 } }, "worker.subscriber.intervalMs"],
    [{ subscriber: { type: "redis_streams", blockTimeMs: "1s" } }, "worker.subscriber.blockTimeMs"],
    [{ subscriber: { type: "redis_streams", claimMinIdleTimeMs: 1 } }, "worker.subscriber.claimMinIdleTimeMs"],
    [{ subscriber: { type: "adaptive_polling", jitterFactor: 2 } }, "worker.subscriber.jitterFactor"],
    [{ subscriber: { type: "adaptive_polling", backoffMultiplier: 0.5 } }, "worker.subscriber.backoffMultiplier"],
    [
      { subscriber: { type: "adaptive_polling", minPollIntervalMs: 9, maxPollIntervalMs: 8 } },
      "must be at least minPollIntervalMs (9)",
    ],
  ])("refuses %j", (params, sentence) => {
    const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining(sentence) };
    expect(() => parseConfig(params, made)).toThrow(expect.objectContaining(refusal));
  });
});

describe("the pace of questions", () => {
  const adaptive = () => paceOf(parseConfig({}, made).subscriber, virtualEnv());

  it("has no pause after runs, nor after a question that the server held", () => {
    const pace = adaptive();
    expect([pace.answered(3, 1), pace.answered(0, pace.waitMs)]).toEqual([0, 0]);
  });

  it("grows after empty answers past the threshold, up to the most, and starts over after runs", () => {
    const pace = adaptive();
    const pauses = Array.from({ length: 12 }, () => pace.answered(0, 1));
    expect(pauses.slice(0, 6)).toEqual([45, 45, 45, 90, 180, 360]);
    expect(pauses.at(-1)).toBe(4_500);
    pace.answered(1, 1);
    expect(pace.answered(0, 1)).toBe(45);
  });

  it("grows while the server errs, up to maxRetryIntervalMs, with jitter", () => {
    const pace = paceOf(parseConfig({ subscriber: { type: "polling", maxRetryIntervalMs: 500 } }, made).subscriber, {
      ...virtualEnv(),
      random: () => 1,
    });
    expect([1, 2, 3, 4, 5].map(() => pace.failed(new Error("down")))).toEqual([100, 200, 400, 500, 500]);
    expect(pace.answered(0, 0)).toBe(500);
    expect(pace.failed(new Error("down"))).toBe(100);
    expect(pace.waitMs).toBe(0);
  });
});

describe("a worker that asked for Redis Streams", () => {
  it.each([
    [null, "the client knows of no Redis"],
    [{ host: "127.0.0.1", port: 1 }, "Redis is not reachable at 127.0.0.1:1"],
  ])("says once why it polls with %j", async (redis, sentence) => {
    const lines: string[] = [];
    await noticeRedis(redis, { ...silentLogger, warn: (line) => lines.push(line) });
    expect(lines).toEqual([expect.stringContaining(sentence)]);
  });
});
