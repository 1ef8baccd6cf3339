/** The channel for notifications between servers of one PostgreSQL. */

import { silentLogger } from "@aikirun/lib";
import { expect, it, vi } from "vitest";
import { PostgresChannel } from "../../packages/server/src/storage/postgres/channel.ts";
import { maxAgeMs } from "../../packages/server/src/storage/postgres/pools.ts";
import { testDatabase } from "../real/postgres.ts";

it("a channel publishes many messages at once, in order, without a warning of the driver", async (context) => {
  const database = await testDatabase();
  if (database === null) return context.skip();
  const warnings: string[] = [];
  const warned = ({ message }: Error) => warnings.push(message);
  process.on("warning", warned);
  const [near, far] = [
    new PostgresChannel({ url: database.url, isAssumedDirect: false, logger: silentLogger }),
    new PostgresChannel({ url: database.url, isAssumedDirect: false, logger: silentLogger }),
  ];
  const received: string[] = [];
  await new Promise<void>((resolve) => far.listen((text) => received.push(text), resolve));
  await new Promise<void>((resolve) => near.listen(() => {}, resolve));
  const sent = Array.from({ length: 20 }, (_, n) => `"${n}"`);
  await Promise.all(sent.map((text) => near.send([text])));
  await expect.poll(() => received.filter((text) => sent.includes(text))).toEqual(sent);
  await Promise.all([near.close(), far.close()]);
  process.off("warning", warned);
  await database.drop();
  expect(warnings).toEqual([]);
});

it("a channel replaces its connection at the maximum age of connections", { timeout: 20_000 }, async (context) => {
  const database = await testDatabase();
  if (database === null) return context.skip();
  const channel = new PostgresChannel({ url: database.url, isAssumedDirect: false, logger: silentLogger });
  let connections = 0;
  await new Promise<void>((resolve) => {
    channel.listen(
      () => {},
      () => {
        connections += 1;
        resolve();
      },
    );
  });
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + maxAgeMs);
  await expect.poll(() => connections, { timeout: 15_000 }).toBe(2);
  clock.mockRestore();
  await channel.close();
  await database.drop();
});
