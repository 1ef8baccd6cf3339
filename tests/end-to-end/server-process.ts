/** A server process of these tests: the product's parts, put together as `server()` does, with points around them. */

import { consoleLogger, systemEnv } from "@aikirun/lib";
import { v7 } from "uuid";
import type { Settings } from "../../packages/server/src/core/run.ts";
import { createEngine } from "../../packages/server/src/engine/engine.ts";
import { admitAll } from "../../packages/server/src/http/admit.ts";
import { listenOn } from "../../packages/server/src/http/listen.ts";
import { hostsAllowed } from "../../packages/server/src/http/origin.ts";
import { loadDriver } from "../../packages/server/src/storage/sqlite/driver.ts";
import { lockDatabase } from "../../packages/server/src/storage/sqlite/lock.ts";
import { migrate } from "../../packages/server/src/storage/sqlite/migrate.ts";
import { connect } from "../../packages/server/src/storage/sqlite/open.ts";
import { SqliteStorage } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import { type Fault, faultAt } from "./fault.ts";
import { reachingServerApi, reachingStorage } from "./server-points.ts";

export interface ServerProcessConfig {
  path: string;
  port: number;
  settings: Partial<Settings>;
  fault: Fault | null;
}

/** What the test may say to the process: the file may grow to so many pages and no further. */
export type ServerOrder = { type: "pages"; most: number | "now" };

const { path, port, settings, fault }: ServerProcessConfig = JSON.parse(process.argv[2] ?? "{}");
const env = systemEnv({ id: v7 });
const logger = consoleLogger({ level: "warn" });
const reach = faultAt(fault);
const reaching = reachingStorage(reach);

const driver = await loadDriver();
const lock = lockDatabase(driver, path);
const connection = connect(driver, path, undefined, reaching.observe);
migrate(connection, env.now());
const storage = reaching.around(new SqliteStorage(connection, lock, path, env));
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

process.on("message", (order: ServerOrder) => {
  const most = order.most === "now" ? connection.pragma("page_count") : order.most;
  connection.script(`PRAGMA max_page_count = ${most}`);
  console.log(`pages ${order.most}`);
});
process.on("disconnect", () => process.exit(3));
process.on("SIGTERM", async () => {
  await listener.close();
  await engine.close();
  await storage.close();
  process.exit(0);
});
console.log(`listening ${listener.port}`);
