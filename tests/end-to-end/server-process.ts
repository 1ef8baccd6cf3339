/** A server process of these tests: `server()` itself, or its parts put together alike with points around them. */

import { consoleLogger, systemEnv } from "@aikirun/lib";
import { type ServerParams, server } from "@aikirun/server";
import { v7 } from "uuid";
import type { Settings } from "../../packages/server/src/core/run.ts";
import { createEngine } from "../../packages/server/src/engine/engine.ts";
import { admitAll } from "../../packages/server/src/http/admit.ts";
import { listenOn } from "../../packages/server/src/http/listen.ts";
import { hostsAllowed } from "../../packages/server/src/http/origin.ts";
import { type Fault, faultAt } from "./fault.ts";
import { type Ground, isSqlite, redisUrl } from "./ground.ts";
import { sayLateness } from "./lateness.ts";
import { reachingServerApi } from "./server-points.ts";
import { openReaching } from "./server-storage.ts";

export interface ServerProcessConfig extends Pick<Ground, "database" | "redis"> {
  port: number;
  settings: Partial<Settings>;
  fault: Fault | null;
}

/** What the test may say to the process: the file may grow to so many pages and no further. */
export type ServerOrder = { type: "pages"; most: number | "now" };

interface Serving {
  port: number;
  close(): Promise<void>;
  obey(order: ServerOrder): void;
}

/** Connections of one server; scenarios that run at once share what PostgreSQL allows. */
const connections = 6;

const config: ServerProcessConfig = JSON.parse(process.argv[2] ?? "{}");
const logger = consoleLogger({ level: "warn" });
const needsParts = config.fault !== null || isSqlite(config.database);
const serving = await (needsParts ? parts(config) : whole(config));

async function whole({ database, redis, port, settings }: ServerProcessConfig): Promise<Serving> {
  const params: ServerParams = { database, databaseConnections: connections, settings, logger };
  if (redis !== null) params.redis = redisUrl(redis);
  const made = await server(params);
  const listener = await made.listen({ port });
  return { port: listener.port, close: () => made.close(), obey: () => {} };
}

async function parts({ database, port, settings, fault }: ServerProcessConfig): Promise<Serving> {
  const env = systemEnv({ id: v7 });
  const reach = faultAt(fault);
  const { storage, limit } = await openReaching(database, { reach, env, logger, connections });
  const engine = createEngine({ storage, env, settings, logger });
  await engine.start();
  const face = {
    admit: admitAll(reachingServerApi(engine.api("default"), reach)),
    hosts: hostsAllowed([]),
    ready: () => storage.read((reader) => reader.nextDue()),
    logger,
    id: env.id,
  };
  const listener = await listenOn(face, port, "127.0.0.1");
  return {
    port: listener.port,
    obey: ({ most }) => {
      limit(most);
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
