import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { afterAll, describe } from "vitest";
import { testDatabase } from "./real/postgres.ts";
import type { Subject } from "./suites/actors.ts";
import { apiSuite } from "./suites/api.suite.ts";

const postgres = await testDatabase();
afterAll(() => postgres?.drop());

type DatabaseKind = "memory" | "sqlite" | "postgres";

async function place(database: DatabaseKind): Promise<{ url: string; leave: () => Promise<void> }> {
  if (database === "memory") return { url: "memory:", leave: async () => {} };
  if (database === "postgres") return { url: postgres?.url ?? "", leave: async () => {} };
  const directory = await mkdtemp(join(tmpdir(), "aiki-api-"));
  const leave = () => rm(directory, { recursive: true, maxRetries: 3 });
  return { url: `sqlite:${join(directory, "aiki.db")}`, leave };
}

async function open(database: DatabaseKind, transport: "in-process" | "HTTP"): Promise<Subject> {
  const { url, leave } = await place(database);
  const aikiServer = await server({ database: url, logger: silentLogger });
  const params = transport === "HTTP" ? { url: (await aikiServer.listen({ port: 0 })).url } : { server: aikiServer };
  const aiki = await client({ ...params, logger: silentLogger });
  const close = async () => {
    await aiki.close();
    await aikiServer.close();
    await leave();
  };
  return { api: aiki.api, close };
}

for (const database of ["memory", "sqlite", "postgres"] as const) {
  for (const transport of ["in-process", "HTTP"] as const) {
    describe.skipIf(database === "postgres" && postgres === null)(`on ${database}`, () => {
      apiSuite(`the Api on ${database}, ${transport}`, () => open(database, transport));
    });
  }
}
