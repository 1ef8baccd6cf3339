/** A server runs workflows with PostgreSQL roles that have few privileges or their own settings. */

import { readFile } from "node:fs/promises";
import { client } from "@aikirun/client";
import { type Logger, silentLogger } from "@aikirun/lib";
import { migrate, server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { v7 } from "uuid";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { type TestDatabase, testDatabase } from "../real/postgres.ts";
import { addOrders, orderV1 } from "./order.ts";

const found = await testDatabase();
afterAll(() => found?.drop());

describe.skipIf(found === null)("a role of PostgreSQL", () => {
  if (found === null) return;
  const database: TestDatabase = found;
  const ends: Array<() => Promise<unknown>> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    await database.sql("DROP SCHEMA IF EXISTS aiki CASCADE");
  });

  /** The url of a new role. Executes `statements` with ROLE_NAME replaced by its name. */
  async function roleWith(...statements: string[]): Promise<string> {
    const role = `aiki_${v7().replaceAll("-", "")}`;
    await database.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'p'`);
    ends.push(() => database.sql(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`));
    for (const statement of statements) await database.sql(statement.replaceAll("ROLE_NAME", role));
    const url = new URL(database.url);
    [url.username, url.password] = [role, "p"];
    return url.href;
  }

  const mayCreate = `GRANT CREATE ON DATABASE ${new URL(database.url).pathname.slice(1)} TO ROLE_NAME`;

  /** Runs workflows that use all features of a server, and returns the warnings and errors that it logged. */
  async function runsWorkflows(url: string): Promise<string[]> {
    const lines: string[] = [];
    const logger: Logger = {
      ...silentLogger,
      warn: (message, fields) => lines.push(`${message} ${JSON.stringify(fields)}`),
      error: (message, fields) => lines.push(`${message} ${JSON.stringify(fields)}`),
      child: () => logger,
    };
    const aikiServer = await server({ database: url, auth: true, logger });
    ends.push(() => aikiServer.close());
    const { secret, id } = await aikiServer.keys.create({ name: "all", scopes: ["admin"] });
    const at = await aikiServer.listen({ port: 0 });
    const aiki = await client({ url: at.url, apiKey: secret, logger: silentLogger });
    ends.push(() => aiki.close());
    const working = worker(aiki, { maxConcurrentWorkflowRuns: 3 });
    addOrders(working.registry);
    await working.start();
    const handles = await Promise.all(
      ["a", "b", "c"].map((order) => orderV1.start(aiki, order, { tags: [order, "all"] })),
    );
    await Promise.all(handles.map((handle) => handle.events.approved.send("ada")));
    const outputs = await Promise.all(handles.map((handle) => handle.result()));
    expect(outputs).toEqual(["a", "b", "c"].map((id) => `paid ${id}, approved by ada, sent as parcel of ${id}`));
    expect((await aiki.runs.list({ tags: ["all", "b"] })).runs.map(({ id }) => id)).toEqual([handles[1]?.id]);
    expect(await aiki.workers.list()).toHaveLength(1);
    await working.stop();
    await aikiServer.keys.revoke(id);
    return lines.filter((line) => !line.includes("no API key exists yet"));
  }

  it.each([
    "extra_float_digits = -15",
    "standard_conforming_strings = off",
    "default_transaction_isolation = 'serializable'",
    "search_path = ''",
  ])("a role with %s migrates an empty database and runs workflows", async (setting) => {
    const url = await roleWith(mayCreate, `ALTER ROLE ROLE_NAME SET ${setting}`);
    expect(await runsWorkflows(url)).toEqual([]);
  });

  it("a role with only the documented privileges runs workflows", async () => {
    await migrate({ database: database.url, logger: silentLogger });
    const docs = await readFile(new URL("../../docs/production.md", import.meta.url), "utf8");
    const grants = docs.match(/^GRANT .*;$/gm) ?? [];
    expect(grants.length).toBeGreaterThan(4);
    const url = await roleWith(...grants.map((grant) => grant.replace("aiki_server", "ROLE_NAME")));
    expect(await runsWorkflows(url)).toEqual([]);
  });

  it("a role that may not read the database's identity runs workflows, and the server logs a warning", async () => {
    await database.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    ends.push(() => database.sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC"));
    const url = await roleWith(mayCreate);
    expect(await runsWorkflows(url)).toEqual([
      expect.stringContaining("PostgreSQL hides its system identifier or timeline"),
    ]);
  });

  it("a role with array_nulls = off is refused when the server starts", async () => {
    const url = await roleWith(mayCreate, "ALTER ROLE ROLE_NAME SET array_nulls = off");
    await expect(migrate({ database: url, logger: silentLogger })).rejects.toMatchObject({
      code: "DATABASE_UNSUPPORTED",
      message: expect.stringContaining("array_nulls is off"),
    });
  });
});
