import type { WakeUpStreams } from "@aikirun/lib/protocol";
import { scriptedApi } from "@aikirun/testing/scripted-api";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { expect, it } from "vitest";
import { registration } from "./registration.ts";

const here = { prefix: "a", namespace: "x" };
const there = { prefix: "b", namespace: "x" };

function setup() {
  const env = virtualEnv();
  const replies: Array<WakeUpStreams | undefined> = [];
  const reply = () => {
    const streams = replies.shift();
    return streams === undefined ? {} : { streams };
  };
  const scripted = scriptedApi({
    claim: () => ({ runs: [], ...reply() }),
    renew: () => ({ results: [], ...reply() }),
  });
  let busy = 0;
  const about = { session: "s", worker: "w", serves: [{ name: "order", versionId: "1" }], shardKeys: ["eu"] };
  const known = registration(scripted.api, env, () => ({ ...about, leaseMs: 1_000, load: { slots: 4, busy } }));
  const renew = async (streams?: WakeUpStreams) => {
    replies.push(streams);
    await known.api.renew({ runs: [] });
    return known.streams();
  };
  const claim = async (streams?: WakeUpStreams) => {
    replies.push(streams);
    const request = {
      claimId: "c",
      session: "s",
      worker: "w",
      serves: [],
      shardKeys: [],
      limit: 1,
      leaseMs: 1,
      waitMs: 0,
    };
    await known.api.claim(request);
    return known.streams();
  };
  const work = () => {
    busy += 1;
  };
  return { env, renew, claim, work, calls: scripted.calls };
}

it("heartbeats contain the served versions, and heartbeats and claims the load", async () => {
  const { renew, claim, work, calls } = setup();
  await renew();
  work();
  await claim();
  expect(calls.renew[0]?.request).toMatchObject({ worker: "w", serves: [{ name: "order" }], shardKeys: ["eu"] });
  expect(calls.claim[0]?.request.serves).toEqual([]);
  expect([calls.renew[0]?.request.load, calls.claim[0]?.request.load]).toEqual([
    { slots: 4, busy: 0 },
    { slots: 4, busy: 1 },
  ]);
});

it("the wake-up streams of the last reply are used, until no reply has named any for 5 s", async () => {
  const { env, renew, claim } = setup();
  expect(await renew()).toBeNull();
  expect(await claim(here)).toBe(here);
  await env.advance(4_000);
  expect(await renew()).toBe(here);
  expect(await claim(here)).toBe(here);
  await env.advance(4_000);
  expect(await claim()).toBe(here);
  await env.advance(1_000);
  expect(await renew()).toBeNull();
  expect(await claim(there)).toBe(there);
});
