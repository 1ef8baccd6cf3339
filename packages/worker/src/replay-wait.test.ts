import { virtualEnv } from "@aikirun/testing/virtual-env";
import { expect, it } from "vitest";
import { ReplayWait } from "./replay-wait.ts";

function setup() {
  const env = virtualEnv();
  const late: Array<[call: string, waitedMs: number]> = [];
  const wait = new ReplayWait(env, (call, since) => late.push([call, env.now() - since]));
  return { env, late, wait };
}

it("a replay that waits for 10 s without a break is late once, and names the expected call", async () => {
  const { env, late, wait } = setup();
  wait.set("step:a#0");
  await env.advance(9_000);
  wait.set(null);
  wait.set("step:b#0");
  await env.advance(9_000);
  wait.set("step:c#0");
  expect(late).toEqual([]);
  await env.advance(1_000);
  expect(late).toEqual([["step:c#0", 10_000]]);
  wait.set(null);
  wait.set("step:d#0");
  await env.advance(60_000);
  expect(late).toHaveLength(1);
});

it("a replay whose run left the worker is never late", async () => {
  const { env, late, wait } = setup();
  wait.set("step:a#0");
  wait.end();
  await env.advance(60_000);
  expect(late).toEqual([]);
});
