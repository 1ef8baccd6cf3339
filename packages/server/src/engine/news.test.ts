import { uuid, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import type { Hint } from "../delivery/ready.ts";
import { type Channel, type News, serverNews } from "./news.ts";

type HeardBatch = { changed: readonly string[]; queued: readonly Hint[] };

/** Servers on one channel, which carries every text to all of them, or nothing while it is cut. */
function company(count: number, maxBytes = 10_000) {
  const env = virtualEnv();
  const hearers: Array<(text: string) => void> = [];
  const said: string[] = [];
  const wire = { isCut: false };
  const channel = (): Channel => ({
    maxBytes,
    listen(hear, connected) {
      hearers.push(hear);
      connected();
    },
    async say(texts) {
      if (wire.isCut) throw new Error("cut");
      said.push(...texts);
      for (const text of texts) for (const hear of [...hearers]) hear(text);
    },
    close: async () => {},
  });
  const servers: Array<{ news: News; heard: HeardBatch[]; recalled: string[] }> = Array.from({ length: count }, () => {
    const heard: HeardBatch[] = [];
    const recalled: string[] = [];
    const news = serverNews({
      env,
      channel: channel(),
      hear: (changed, queued) => heard.push({ changed, queued }),
      recalled: (claimId) => recalled.push(claimId),
    });
    news.start();
    return { news, heard, recalled };
  });
  return { env, servers, said, wire, inject: (text: string) => hearers.map((hear) => hear(text)) };
}

const hint: Hint = { id: uuid(2), namespace: "a", name: "order", versionId: "1", shardKey: "eu", priority: 3 };

describe("news between servers", () => {
  it("reach every other server and not the one that tells", async () => {
    const { env, servers } = company(3);
    servers[0]?.news.tell([uuid(1), uuid(2)], [hint]);
    await env.advance(1);
    expect(servers.map(({ heard }) => heard)).toEqual([
      [],
      [{ changed: [uuid(1), uuid(2)], queued: [hint] }],
      [{ changed: [uuid(1), uuid(2)], queued: [hint] }],
    ]);
  });

  it("tell of a recall whoever may hold the claim", async () => {
    const { env, servers } = company(3);
    servers[0]?.news.recall("claim-1");
    await env.advance(1);
    expect(servers.map(({ recalled }) => recalled)).toEqual([[], ["claim-1"], ["claim-1"]]);
    expect(servers.flatMap(({ heard }) => heard)).toEqual([]);
  });

  it("are not told by a server that is alone, nor by one whose neighbours left or fell silent", async () => {
    const { env, servers, said, wire } = company(2);
    const [one, other] = servers;
    const told = async () => {
      said.length = 0;
      one?.news.tell([uuid(1)], []);
      await env.advance(1);
      return said.length;
    };
    expect(await told()).toBe(1);
    wire.isCut = true;
    await env.advance(17_000);
    wire.isCut = false;
    expect(await told()).toBe(0);
    await env.advance(5_000);
    expect(await told()).toBe(1);
    await other?.news.close();
    expect(await told()).toBe(0);
  });

  it("travel in texts that the channel can carry, and lose nothing", async () => {
    const { env, servers, said } = company(2, 300);
    const all = Array.from({ length: 40 }, (_, n) => uuid(n));
    const long = { ...hint, name: "x".repeat(255) };
    servers[0]?.news.tell(all, [long]);
    await env.advance(1);
    expect(Math.max(...said.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(300);
    const heard = servers[1]?.heard ?? [];
    expect(heard.flatMap(({ changed }) => changed)).toEqual(all);
    // What cannot travel with a hint is at least known to have changed.
    expect(heard.flatMap(({ queued }) => queued)).toEqual([]);
  });

  it("that are none are not believed", () => {
    const { servers, inject } = company(1);
    for (const text of ["", "null", "{}", '{"from":1}', '{"from":"x","facts":[1]}', '{"from":"x","facts":[["a"]]}']) {
      inject(text);
    }
    inject('{"from":"x","says":"shout"}');
    expect(servers[0]?.heard).toEqual([]);
  });

  it("may be lost without anybody's failing", async () => {
    const { env, servers, wire } = company(2);
    wire.isCut = true;
    servers[0]?.news.tell([uuid(1)], []);
    await env.advance(1);
    wire.isCut = false;
    servers[0]?.news.tell([uuid(2)], []);
    await env.advance(1);
    expect(servers[1]?.heard.map(({ changed }) => changed)).toEqual([[uuid(2)]]);
  });
});
