/** A server process of these tests: `server()` itself, or the same parts with points around them. */

import { consoleLogger } from "@aikirun/lib";
import { type ServerParams, server } from "@aikirun/server";
import { parseConfig } from "../../packages/server/src/config.ts";
import type { Settings } from "../../packages/server/src/core/run.ts";
import { createEngine } from "../../packages/server/src/engine/engine.ts";
import { admitAll } from "../../packages/server/src/http/admit.ts";
import { countedBodies } from "../../packages/server/src/http/bodies.ts";
import { listenOn } from "../../packages/server/src/http/listen.ts";
import { hostsAllowed } from "../../packages/server/src/http/origin.ts";
import { openNotifier } from "../../packages/server/src/notifier.ts";
import { observedStorage, StorageFaults } from "../../packages/server/src/storage/faults.ts";
import { type Backend, isSqlite, redisUrl } from "./backend.ts";
import { faultAt, type ProcessFault } from "./fault.ts";
import { sayLateness } from "./lateness.ts";
import { reachingServerApi } from "./server-points.ts";
import { openReaching } from "./server-storage.ts";

export interface ServerProcessConfig extends Pick<Backend, "database" | "redis"> {
  port: number;
  settings: Partial<Settings>;
  fault: ProcessFault | null;
}

/** A message from the test to the process: limits the size of the file, in pages. */
export type ServerOrder = { type: "pages"; most: number | "now" };

interface Serving {
  port: number;
  close(): Promise<void>;
  obey(order: ServerOrder): void;
}

/** Connections of one server. Concurrent scenarios share the connections that PostgreSQL allows. */
const connections = 6;

const { database, redis, port, settings, fault }: ServerProcessConfig = JSON.parse(process.argv[2] ?? "{}");
const logger = consoleLogger({ level: "warn" });
const params: ServerParams = {
  database,
  ...(isSqlite(database) ? {} : { databaseConnections: connections }),
  ...(redis === null ? {} : { redis: redisUrl(redis) }),
  settings,
  logger,
};
const serving = await (fault !== null || isSqlite(database) ? parts() : whole());

async function whole(): Promise<Serving> {
  const made = await server(params);
  const listener = await made.listen({ port });
  return { port: listener.port, close: () => made.close(), obey: () => {} };
}

async function parts(): Promise<Serving> {
  const config = parseConfig(params);
  const { env } = config;
  const reach = faultAt(fault);
  const opened = await openReaching(database, { reach, env, logger, connections });
  const storage = observedStorage(opened.storage, new StorageFaults(config));
  const engine = createEngine({ storage, env, settings, logger, notifier: await openNotifier(config) });
  await engine.start();
  const face = {
    basePath: config.basePath,
    admit: admitAll(reachingServerApi(engine.api("default"), reach)),
    hosts: hostsAllowed([]),
    ready: () => storage.read((reader) => reader.nextDue()),
    bodies: countedBodies(),
    logger,
    id: env.id,
  };
  const listener = await listenOn(face, port, "127.0.0.1");
  return {
    port: listener.port,
    obey: ({ most }) => {
      opened.limit(most);
      console.log(`pages ${most}`);
    },
    async close() {
      await listener.close();
      await engine.close();
      await storage.close();
    },
  };
}

sayLateness();
process.on("message", (order: ServerOrder) => serving.obey(order));
process.on("disconnect", () => process.exit(3));
process.on("SIGTERM", async () => {
  await serving.close();
  process.exit(0);
});
console.log(`listening ${serving.port}`);
