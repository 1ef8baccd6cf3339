import type { LiveWorker } from "@aikirun/lib/protocol";
import { scriptedApi } from "@aikirun/testing/scripted-api";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { expect, expectTypeOf, it } from "vitest";
import { client } from "./client.ts";

const worker: LiveWorker = {
  session: "s",
  worker: "worker-1",
  serves: [{ name: "order", versionId: "1" }],
  shardKeys: [],
  since: 1,
  seenAt: 2,
};

it("list returns the live workers, and requests nothing else", async () => {
  const { api, calls } = scriptedApi({ read: () => ({ results: [], workers: [worker] }) });
  const aiki = await client({ server: { api: () => api }, env: virtualEnv() });
  const listed = await aiki.workers.list();
  expect(listed).toEqual([worker]);
  expectTypeOf(listed).toEqualTypeOf<LiveWorker[]>();
  expect(calls.read.map(({ request }) => request)).toEqual([{ runs: [], workers: true }]);
});

it("list rejects if the server's reply has no list of workers", async () => {
  const { api } = scriptedApi({ read: () => ({ results: [] }) });
  const aiki = await client({ server: { api: () => api }, env: virtualEnv() });
  await expect(aiki.workers.list()).rejects.toMatchObject({ code: "BAD_REPLY" });
});
