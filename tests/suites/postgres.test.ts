/** What PostgreSQL must do: what every storage must, and what only a database that others share has to. */

import { afterAll, describe } from "vitest";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { testDatabase } from "../real/postgres.ts";
import { type Opened, storageSuite } from "./storage.suite.ts";

const database = await testDatabase();
afterAll(() => database?.drop());

describe.skipIf(database === null)("with PostgreSQL", () => {
  if (database === null) return;
  const { url, sql } = database;

  async function fresh(): Promise<Opened> {
    const storage = await openPostgres({ url, connections: 6 });
    await sql("DELETE FROM aiki.run; DELETE FROM aiki.entry");
    return { storage, end: () => storage.close() };
  }

  storageSuite("PostgreSQL", fresh);
});
