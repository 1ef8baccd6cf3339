import { type VirtualEnv, virtualEnv } from "@aikirun/testing/virtual-env";
import { beforeEach, describe, expect, it } from "vitest";
import type { RedisRefusal } from "./connection.ts";
import { type Linked, redisLink } from "./link.ts";

const refusal = { ok: false, code: "UNREACHABLE", message: "connect ECONNREFUSED" } as const;

describe("a link to Redis", () => {
  let env: VirtualEnv;
  /** The result of each attempt to open the link, in order; the last one is repeated. */
  let answers: Array<"opened" | "refused" | "nothing">;
  let triedAt: number[];
  let failures: Array<[code: string, wasOpen: boolean]>;
  let lose: (refusal: RedisRefusal) => void;

  beforeEach(() => {
    env = virtualEnv();
    triedAt = [];
    failures = [];
  });

  const link = () =>
    redisLink<Linked>({
      env,
      maxRetryIntervalMs: 1_000,
      async open() {
        triedAt.push(env.elapsed());
        const answer = answers.length > 1 ? answers.shift() : answers[0];
        if (answer !== "opened") return answer === "refused" ? refusal : null;
        const lost = new Promise<RedisRefusal>((resolve) => {
          lose = resolve;
        });
        return { ok: true, opened: { lost } };
      },
      onFailure: ({ code }, lost) => failures.push([code, lost !== null]),
    });

  it("the link reconnects after pauses that grow up to a limit", async () => {
    answers = ["refused"];
    const { tried } = link();
    await tried;
    await env.advance(60_000);
    const pauses = triedAt.slice(1).map((at, index) => at - (triedAt[index] ?? 0));
    expect(pauses.slice(0, 4)).toEqual(pauses.slice(0, 4).toSorted((a, b) => a - b));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(1_000);
    expect(triedAt.length).toBeGreaterThan(50);
    expect(failures).toHaveLength(triedAt.length);
  });

  it("a link without an address to connect to does not count that as a failure", async () => {
    answers = ["nothing", "opened"];
    const { tried, ...rest } = link();
    await tried;
    await env.advance(10_000);
    expect([triedAt.length, failures, rest]).toMatchObject([2, [], {}]);
  });

  it("the link has no connection from a loss until it has connected again", async () => {
    answers = ["opened"];
    const opened = link();
    await opened.tried;
    const first = opened.current;
    expect(first).not.toBeNull();
    lose(refusal);
    await env.settle();
    expect([opened.current, failures]).toEqual([null, [["UNREACHABLE", true]]]);
    await env.advance(10_000);
    expect(opened.current).not.toBeNull();
    expect(opened.current).not.toBe(first);
  });

  it("a closed link connects no more, and returns the open connection", async () => {
    answers = ["opened"];
    const opened = link();
    await opened.tried;
    const { current } = opened;
    expect(await opened.close()).toBe(current);
    await env.advance(60_000);
    expect([triedAt.length, opened.current, env.timers]).toEqual([1, null, 0]);
  });
});
