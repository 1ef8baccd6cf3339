import type { QueueKey } from "@aikirun/lib/protocol";
import { uuid, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import type { Notification } from "./message.ts";
import { type Channel, ChannelNotifier, type Notifier } from "./notifier.ts";

/** Notifiers of several servers on one channel, which delivers every text to all of them, or none while it is cut. */
function notifiers(count: number, { maxBytes = 10_000, wakeUpPrefix }: Partial<Channel> = {}) {
  const env = virtualEnv();
  const receivers: Array<(text: string) => void> = [];
  const sent: string[] = [];
  const wakeUps: QueueKey[] = [];
  const wire = { isCut: false };
  const channel = (): Channel => ({
    maxBytes,
    wakeUpPrefix,
    listen(receive, connected) {
      receivers.push(receive);
      connected();
    },
    async send(texts, keys) {
      if (wire.isCut) throw new Error("cut");
      sent.push(...texts);
      wakeUps.push(...keys);
      for (const text of texts) for (const receive of [...receivers]) receive(text);
    },
    close: async () => {},
  });
  const servers: Array<{ notifier: Notifier; received: Notification[] }> = Array.from({ length: count }, () => {
    const received: Notification[] = [];
    const notifier = new ChannelNotifier(env, channel());
    notifier.onMessage((notification) => received.push(notification));
    return { notifier, received };
  });
  const inject = (text: string) => {
    for (const receive of receivers) receive(text);
  };
  return { env, servers, sent, wakeUps, wire, inject };
}

const eu: QueueKey = { namespace: "a", name: "order", versionId: "1", shardKey: "eu" };
const plain: QueueKey = { ...eu, shardKey: null };

describe("a notification", () => {
  it("a notification reaches every other server once, and not the publisher", async () => {
    const { env, servers } = notifiers(3);
    servers[0]?.notifier.publish({ changed: [uuid(1), uuid(2)], queues: [eu, plain, eu] });
    await env.advance(1);
    const expected = [{ changed: [uuid(1), uuid(2)], queues: [eu, plain] }];
    expect(servers.map(({ received }) => received)).toEqual([[], expected, expected]);
  });

  it("a server sends no notification if no other server is known, or all others closed or are silent", async () => {
    const { env, servers, sent, wire } = notifiers(2);
    const [one, other] = servers;
    const published = async () => {
      sent.length = 0;
      one?.notifier.publish({ changed: [uuid(1)], queues: [] });
      await env.advance(1);
      return sent.length;
    };
    expect(await published()).toBe(1);
    wire.isCut = true;
    await env.advance(17_000);
    wire.isCut = false;
    expect(await published()).toBe(0);
    await env.advance(5_000);
    expect(await published()).toBe(1);
    await other?.notifier.close();
    expect(await published()).toBe(0);
  });

  it("a notification is split to fit the channel, and omits a queue key that fits into no message", async () => {
    const { env, servers, sent } = notifiers(2, { maxBytes: 300 });
    const changed = Array.from({ length: 40 }, (_, n) => uuid(n));
    servers[0]?.notifier.publish({ changed, queues: [{ ...eu, name: "x".repeat(255) }, eu] });
    await env.advance(1);
    expect(Math.max(...sent.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(300);
    const received = servers[1]?.received ?? [];
    expect(received.flatMap((one) => one.changed)).toEqual(changed);
    expect(received.flatMap(({ queues }) => queues)).toEqual([eu]);
  });

  it("a malformed message is ignored", () => {
    const { servers, inject } = notifiers(1);
    for (const text of [
      "",
      "null",
      "{}",
      '{"from":1}',
      '{"from":"x","changed":[1]}',
      '{"from":"x","queues":[["a"]]}',
    ]) {
      inject(text);
    }
    inject('{"from":"x","remark":"unknown"}');
    expect(servers[0]?.received).toEqual([]);
  });

  it("a notification that is lost does not hold up later ones", async () => {
    const { env, servers, wire } = notifiers(2);
    wire.isCut = true;
    servers[0]?.notifier.publish({ changed: [uuid(1)], queues: [] });
    await env.advance(1);
    wire.isCut = false;
    servers[0]?.notifier.publish({ changed: [uuid(2)], queues: [] });
    await env.advance(1);
    expect(servers[1]?.received.map(({ changed }) => changed)).toEqual([[uuid(2)]]);
  });

  it("close sends pending notifications", async () => {
    const { env, servers } = notifiers(2);
    await env.advance(1);
    servers[0]?.notifier.publish({ changed: [uuid(1)], queues: [] });
    await Promise.all([servers[0]?.notifier.close(), env.advance(1)]);
    expect(servers[1]?.received).toEqual([{ changed: [uuid(1)], queues: [] }]);
  });
});

describe("wake-ups", () => {
  it("each queue of a commit gets one wake-up, and up to ten if many runs became ready", async () => {
    const { env, servers, wakeUps } = notifiers(1, { wakeUpPrefix: "aiki" });
    const published = async (...queues: QueueKey[]) => {
      wakeUps.length = 0;
      servers[0]?.notifier.publish({ changed: [], queues });
      await env.advance(1);
      return wakeUps;
    };
    expect(await published(eu, plain, eu)).toEqual([eu, plain]);
    expect(await published(...Array<QueueKey>(25).fill(eu))).toEqual([eu, eu, eu]);
    expect(await published(...Array<QueueKey>(1_000).fill(eu))).toHaveLength(10);
  });

  it("no wake-up is published without a wake-up prefix", async () => {
    const { env, servers, wakeUps } = notifiers(1);
    servers[0]?.notifier.publish({ changed: [], queues: [eu] });
    await env.advance(1);
    expect(wakeUps).toEqual([]);
  });
});
