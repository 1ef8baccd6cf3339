/** The errors of a server that PostgreSQL refuses: the cause, the message of PostgreSQL, and no secret. */

import { chown, mkdtemp, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isAikiError, type Logger, silentLogger } from "@aikirun/lib";
import { migrate, server } from "@aikirun/server";
import { DatabaseError } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { explainFailure } from "../../packages/server/src/storage/postgres/failure.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { findBinaries } from "../real/binaries.ts";
import { certify } from "../real/certificate.ts";
import { type Cluster, startCluster } from "../real/cluster.ts";
import { query, testDatabase } from "../real/postgres.ts";
import { queuedRun } from "./records.ts";

const found = await testDatabase();
await found?.drop();
const secret = "hunter2";

/** The role `owner` needs a password, and `stranger` is rejected. All other roles are trusted without TLS. */
const access = `
host all stranger 127.0.0.2/32 trust
host all stranger 127.0.0.1/32 reject
host all owner 127.0.0.1/32 scram-sha-256
hostnossl all all 127.0.0.1/32 trust
hostssl all all 127.0.0.1/32 trust
`;

describe.skipIf(found === null)("a PostgreSQL that refuses a server", () => {
  let cluster: Cluster;
  let certificate = "";
  const warnings: string[] = [];
  const onWarning = (warning: Error) => warnings.push(warning.message);

  beforeAll(async () => {
    process.on("warning", onWarning);
    const place = await mkdtemp(join(inject("services").directory, "refusing-"));
    const binaries = await findBinaries(place);
    if (binaries === null) throw new Error("The PostgreSQL of these tests is gone.");
    cluster = await startCluster(binaries, place, process.pid);
    await query(cluster.url, `CREATE ROLE owner LOGIN CREATEDB PASSWORD '${secret}'; CREATE ROLE stranger LOGIN`);
    await query(cluster.url, "GRANT CREATE ON DATABASE postgres TO owner");
    await writeFile(join(place, "data", "pg_hba.conf"), access);
    await cluster.control("restart");
    certificate = join(place, "cert.pem");
    await certify(place);
    await give(place, "cert.pem", "key.pem");
  });
  afterEach(() => query(cluster.url, "ALTER SYSTEM SET ssl = off").then(() => cluster.control("reload")));
  afterAll(async () => {
    process.off("warning", onWarning);
    await cluster.control("stop", "-m", "immediate");
  });

  /** Copies the certificate for the user of PostgreSQL. */
  async function give(place: string, ...names: string[]): Promise<void> {
    const { uid, gid } = await stat(join(place, "data"));
    for (const name of names) {
      const copy = join(place, "data", name);
      await writeFile(copy, await readFile(join(place, name)), { mode: 0o600 });
      await chown(copy, uid, gid);
    }
  }

  async function encrypts(): Promise<void> {
    for (const setting of ["ssl_cert_file = 'cert.pem'", "ssl_key_file = 'key.pem'", "ssl = on"]) {
      await query(cluster.url, `ALTER SYSTEM SET ${setting}`);
    }
    await cluster.control("restart");
  }

  function urlOf(user: string, more = ""): string {
    return `postgres://${user}@127.0.0.1:${new URL(cluster.url).port}/postgres${more}`;
  }

  async function refusal(database: string): Promise<string> {
    const thrown: unknown = await migrate({ database, logger: silentLogger }).catch((error: unknown) => error);
    if (!isAikiError(thrown)) throw new Error(`The server was not refused: ${String(thrown)}`);
    expect(thrown.message).not.toContain(secret);
    return `${thrown.code}: ${thrown.message}`;
  }

  it.each([
    [
      "a wrong password",
      "owner:wrong",
      /^STORAGE_REFUSED: .*the user and the password.*28P01: password authentication/,
    ],
    ["no password", "owner", /^STORAGE_REFUSED: .*asks for a password, and the url has none.*\(SASL/],
    [
      "a role that pg_hba.conf rejects",
      "stranger",
      /^STORAGE_REFUSED: .*pg_hba\.conf on.*\(28000: pg_hba.conf rejects/,
    ],
    ["an unknown role", "nobody_knows", /^STORAGE_REFUSED: .*\(28000: role "nobody_knows" does not exist\)/],
  ])("the error for %s names the cause and the message of PostgreSQL", async (_, user, sentence) => {
    expect(await refusal(urlOf(user))).toMatch(sentence);
  });

  it("the error for an unknown database names it", async () => {
    const url = new URL(cluster.url);
    url.pathname = "/missing";
    expect(await refusal(url.href)).toMatch(/^STORAGE_REFUSED: .*\(3D000: database "missing" does not exist\)/);
  });

  it("the error for a port without a server says that it cannot connect, not that a connection was lost", async () => {
    const said = await refusal("postgres://aiki@127.0.0.1:1/postgres");
    expect(said).toMatch(/^STORAGE_UNAVAILABLE: .*Aiki cannot connect\. Check the host.*ECONNREFUSED/);
    expect(said).not.toMatch(/lost|commit/);
  });

  it("the error for missing TLS says that PostgreSQL does not offer it", async () => {
    const said = await refusal(urlOf("aiki", "?sslmode=verify-full"));
    expect(said).toMatch(/^STORAGE_REFUSED: .*does not offer TLS.*\(The server does not support SSL connections\)/);
  });

  it.each(["prefer", "require", "verify-ca", "verify-full"])(
    "a certificate is verified with sslmode=%s: the error names it, without a warning of the driver",
    async (mode) => {
      await encrypts();
      const said = await refusal(urlOf(`owner:${secret}`, `?sslmode=${mode}`));
      expect(said).toMatch(/^STORAGE_REFUSED: .*certificate.*sslrootcert=.*\(DEPTH_ZERO_SELF_SIGNED_CERT: self-signed/);
      const trusting = `?sslmode=${mode}&sslrootcert=${encodeURIComponent(certificate)}`;
      await migrate({ database: urlOf(`owner:${secret}`, trusting), logger: silentLogger });
      await migrate({ database: urlOf(`owner:${secret}`, "?sslmode=no-verify"), logger: silentLogger });
      expect(warnings).toEqual([]);
    },
  );

  it("the log or the error names the table on which the role lacks a privilege", async () => {
    await migrate({ database: cluster.url, logger: silentLogger });
    await query(cluster.url, "CREATE ROLE limited LOGIN; GRANT USAGE ON SCHEMA aiki TO limited");
    expect(await refusal(urlOf("limited"))).toMatch(
      /^STORAGE_REFUSED: .*lacks a privilege\. Grant what .*\(42501: permission denied for table migration\)/,
    );
    await query(cluster.url, "GRANT SELECT ON ALL TABLES IN SCHEMA aiki TO limited");
    await query(cluster.url, "GRANT INSERT, UPDATE ON aiki.identity TO limited");
    const storage = await openPostgres({ url: urlOf("limited"), connections: 2 });
    await expect(storage.transaction((transaction) => transaction.insert([queuedRun(1)]))).rejects.toMatchObject({
      code: "STORAGE_REFUSED",
      message: expect.stringMatching(/\(42501: permission denied for table run\)$/),
    });
    await storage.close();
  });

  it("a server that is refused at databaseDirect warns once with the reason", async () => {
    const lines: string[] = [];
    const warn = (message: string, fields?: object) => lines.push(`${message} ${JSON.stringify(fields)}`);
    const logger: Logger = { ...silentLogger, warn, error: warn, child: () => logger };
    const opened = await server({ database: cluster.url, databaseDirect: urlOf("owner:wrong"), logger });
    await expect.poll(() => lines).toHaveLength(1);
    expect(lines[0]).toMatch(/cannot listen to notifications.*28P01: password authentication failed/);
    await opened.close();
  });
});

describe("the explanation of a failure", () => {
  it.each(["22P02", "22003", "23505", "23514"])("the explanation of SQLSTATE %s shows no user data", (code) => {
    const failure = new DatabaseError(`invalid: "${secret}"`, 10, "error");
    Object.assign(failure, { code, detail: `Key (id)=(${secret}) exists.` });
    expect(String(explainFailure(failure, "here"))).toContain(`(${code})`);
    expect(String(explainFailure(failure, "here"))).not.toContain(secret);
  });

  it("the explanation of another SQLSTATE shows a shortened message and never the detail", () => {
    const failure = new DatabaseError(`permission denied ${"x".repeat(1_000)}`, 10, "error");
    Object.assign(failure, { code: "42501", detail: secret });
    const { message } = new Error(String(explainFailure(failure, "here")));
    expect(message).toContain("(42501: permission denied xxx");
    expect(message).not.toContain(secret);
    expect(message.length).toBeLessThan(800);
  });

  it("the explanation of a closed connection says that it was lost", () => {
    const said = String(explainFailure(new Error("Connection terminated unexpectedly"), "here"));
    expect(said).toMatch(/the connection was lost.*may have been applied.*\(Connection terminated unexpectedly\)/);
  });
});
