import { expect, it } from "vitest";
import { virtualEnv } from "../test/virtual-env.ts";
import { expectation } from "./expectation.ts";

function setup() {
  const env = virtualEnv();
  const late: Array<[call: string, waitedMs: number]> = [];
  const expected = expectation(env, (call, since) => late.push([call, env.now() - since]));
  return { env, late, expected };
}

it("is late after 10 s without a break, names the present call, and is so once", async () => {
  const { env, late, expected } = setup();
  expected.set("step:a#0");
  await env.advance(9_000);
  expected.set(null);
  expected.set("step:b#0");
  await env.advance(9_000);
  expected.set("step:c#0");
  expect(late).toEqual([]);
  await env.advance(1_000);
  expect(late).toEqual([["step:c#0", 10_000]]);
  expected.set(null);
  expected.set("step:d#0");
  await env.advance(60_000);
  expect(late).toHaveLength(1);
});

it("is never late of a run that left", async () => {
  const { env, late, expected } = setup();
  expected.set("step:a#0");
  expected.end();
  await env.advance(60_000);
  expect(late).toEqual([]);
});
