import { describe, expect, it } from "vitest";
import { parseConfig } from "./config.ts";

const made = { id: "made", hasRedis: false };

describe("the configuration of a worker", () => {
  it("a worker has the documented defaults", () => {
    expect(parseConfig({}, made)).toEqual({
      id: "made",
      maxConcurrentWorkflowRuns: 1,
      heartbeatIntervalMs: 30_000,
      leaseMs: 90_000,
      idleTimeoutMs: 300_000,
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
      buildId: null,
      metrics: null,
    });
  });

  it("Redis Streams are the default if the client has Redis", () => {
    expect(parseConfig({}, { id: "made", hasRedis: true }).subscriber).toEqual({
      type: "redis_streams",
      claimMinIdleTimeMs: 90_000,
      blockTimeMs: 1_000,
      maxRetryIntervalMs: 2_000,
      atCapacityIntervalMs: 0,
    });
  });

  it("given options are kept, and the configuration is frozen", () => {
    const config = parseConfig(
      {
        id: "w",
        workflowRun: { heartbeatIntervalMs: 1_000, idleTimeoutMs: 1_000 },
        shardKeys: ["eu"],
        subscriber: { type: "polling" },
        buildId: "4e1568d",
      },
      made,
    );
    expect(config).toMatchObject({
      id: "w",
      leaseMs: 3_000,
      idleTimeoutMs: 1_000,
      shardKeys: ["eu"],
      buildId: "4e1568d",
    });
    expect([config, config.subscriber, config.shardKeys].map(Object.isFrozen)).toEqual([true, true, true]);
  });

  it.each([
    [null, "worker must be an object"],
    [{ id: "" }, "worker.id must be a string of 1 to 255"],
    [{ maxConcurrentWorkflowRuns: 0 }, "worker.maxConcurrentWorkflowRuns must be a number from 1 to 1000"],
    [{ maxConcurrentWorkflowRuns: 1.5 }, "worker.maxConcurrentWorkflowRuns must be a whole number"],
    [{ workflowRun: { heartbeatIntervalMs: 1 } }, "worker.workflowRun.heartbeatIntervalMs"],
    [{ workflowRun: { heartbeatInterval: 1 } }, 'worker.workflowRun has no field "heartbeatInterval"'],
    [
      { workflowRun: { idleTimeoutMs: 999 } },
      "worker.workflowRun.idleTimeoutMs must be a number from 1000 to 86400000",
    ],
    [{ workflowRun: null }, "worker.workflowRun must be an object"],
    [{ buildId: "" }, "worker.buildId must be a string of 1 to 64"],
    [{ buildId: "x".repeat(65) }, "worker.buildId must be a string of 1 to 64"],
    [{ id: "w\0" }, "worker.id"],
    [{ id: "w\ud800" }, "worker.id"],
    [{ id: "\udc00w" }, "worker.id"],
    [{ buildId: "b\ud800" }, "worker.buildId"],
    [{ shardKeys: ["eu\0"] }, "worker.shardKeys"],
    [{ metrics: { Counter: class {} } }, "worker.metrics must have the classes Counter and Histogram"],
    [{ gracefulShutdownTimeoutMs: -1 }, "worker.gracefulShutdownTimeoutMs"],
    [{ shardKeys: "eu" }, "worker.shardKeys must be an array"],
    [{ shardKeys: ["eu", "eu"] }, "worker.shardKeys must be an array"],
    [{ concurrency: 4 }, 'worker has no field "concurrency"'],
    [{ subscriber: "polling" }, "worker.subscriber must be an object"],
    [{ subscriber: {} }, "worker.subscriber.type is missing"],
    [{ subscriber: { type: "kafka" } }, '"adaptive_polling" or "polling" or "custom"'],
    [{ subscriber: { type: "custom" } }, "worker.subscriber.subscribe is missing"],
    [{ subscriber: { type: "custom", subscribe: {} } }, "worker.subscriber.subscribe must be a function"],
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
  ])("worker options %j are refused", (params, sentence) => {
    const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining(sentence) };
    expect(() => parseConfig(params, made)).toThrow(expect.objectContaining(refusal));
  });
});
