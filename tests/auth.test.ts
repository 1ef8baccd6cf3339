import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe } from "vitest";
import { testDatabase } from "./real/postgres.ts";
import { authSuite } from "./suites/auth.suite.ts";

const postgres = await testDatabase();
afterAll(() => postgres?.drop());

authSuite("authentication on SQLite", async () => {
  const directory = await mkdtemp(join(tmpdir(), "aiki-auth-"));
  const leave = () => rm(directory, { recursive: true, maxRetries: 3 });
  return { database: `sqlite:${join(directory, "aiki.db")}`, leave };
});

describe.skipIf(postgres === null)("with PostgreSQL", () => {
  authSuite("authentication on PostgreSQL", async () => ({ database: postgres?.url ?? "", leave: async () => {} }));
});
