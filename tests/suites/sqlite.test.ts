/** Requirements of SQLite only: durability, one server per file, and clear errors. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, open, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { FindRequest } from "@aikirun/lib/protocol";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chosenSource, narrowSources } from "../../packages/server/src/storage/find.ts";
import type { Cell } from "../../packages/server/src/storage/row.ts";
import type { Connection } from "../../packages/server/src/storage/sqlite/connection.ts";
import { type Driver, loadDriver, type PreparedStatement } from "../../packages/server/src/storage/sqlite/driver.ts";
import { explainFailure } from "../../packages/server/src/storage/sqlite/failure.ts";
import { countQuery, examinedQuery } from "../../packages/server/src/storage/sqlite/find.ts";
import { lockDatabase } from "../../packages/server/src/storage/sqlite/lock.ts";
import { migrate } from "../../packages/server/src/storage/sqlite/migrate.ts";
import { connect, isSafe } from "../../packages/server/src/storage/sqlite/open.ts";
import { OpenFiles } from "../../packages/server/src/storage/sqlite/open-files.ts";
import { openSqlite, SqliteStorage } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import * as sql from "../../packages/server/src/storage/sqlite/statements.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { countsOf, outOfReach, uncounted, uncountedLimits, unlisted, unlistedCounts } from "./lists.suite.ts";
import { entryWith, next, queuedRun, returnedEntry, runId, runningState } from "./records.ts";
import { sqliteBeforeStats } from "./stats.suite.ts";

const env = { now: (): number => 1_000 };

let directory: string;
let path: string;
let driver: Driver;
const toClose: Array<() => unknown> = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "aiki-sqlite-"));
  path = join(directory, "aiki.db");
  driver = await loadDriver();
});
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
  await rm(directory, { recursive: true });
});

async function opened(at: string = path, observe?: (statement: string) => void): Promise<Storage> {
  const storage = await openSqlite({ path: at, env, ...(observe && { observe }) });
  toClose.push(() => storage.close());
  return storage;
}

function connected(through: Driver = driver): Connection {
  const connection = connect(through, path, undefined);
  toClose.push(() => connection.close());
  return connection;
}

const holderScript = join(import.meta.dirname, "sqlite-holder.ts");
const holderArgs = ["--import", "tsx", "--conditions=@aikirun/source", holderScript];

async function holder(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [...holderArgs, path], { stdio: ["ignore", "pipe", "inherit"] });
  toClose.push(() => child.kill("SIGKILL"));
  const [said] = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  expect(String(said)).toBe("held\n");
  return child;
}

/** The output of another process that opens the file: that it is open, or the error. */
async function saidByHolder(): Promise<string> {
  const child = spawn(process.execPath, [...holderArgs, path], { stdio: ["ignore", "pipe", "pipe"] });
  toClose.push(() => child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += String(chunk);
  });
  const holds = once(child.stdout, "data").then(([chunk]) => String(chunk));
  return Promise.race([holds, once(child, "close").then(() => said)]);
}

describe("one server per file", () => {
  it("a second server in another process is refused, and the error names the process that has the file", async () => {
    const child = await holder();
    await expect(openSqlite({ path, env })).rejects.toMatchObject({
      code: "DATABASE_LOCKED",
      message: expect.stringContaining(`process ${child.pid} on `),
    });
  });

  it("a file can be opened as soon as its server was killed, with all commits", async () => {
    const child = await holder();
    child.kill("SIGKILL");
    await once(child, "exit");
    const storage = await opened();
    expect(await storage.read((reader) => reader.load([runId(1)]))).toEqual([queuedRun(1)]);
  });

  it("a second server in the same process is refused, also through a link", async () => {
    await opened();
    const link = join(directory, "link.db");
    await symlink(path, link);
    await expect(openSqlite({ path: link, env })).rejects.toMatchObject({ code: "DATABASE_LOCKED" });
  });

  it("a second server is refused if it uses a link that existed before the file", async () => {
    const link = join(directory, "link.db");
    await symlink("aiki.db", link);
    await opened(link);
    await expect(openSqlite({ path: link, env })).rejects.toMatchObject({ code: "DATABASE_LOCKED" });
    await expect(openSqlite({ path, env })).rejects.toMatchObject({ code: "DATABASE_LOCKED" });
  });

  it("a server keeps its lock after a second server in the same process was refused", async () => {
    await opened();
    await expect(openSqlite({ path, env })).rejects.toMatchObject({ code: "DATABASE_LOCKED" });
    expect(await saidByHolder()).toContain("DATABASE_LOCKED");
  });

  it("another program can read while the server runs", async () => {
    const storage = await opened();
    await storage.transaction((transaction) => transaction.insert([queuedRun(1)]));
    const other = new driver(path);
    toClose.push(() => other.close());
    expect(other.prepare("SELECT count(*) AS runs FROM run").get()).toMatchObject({ runs: 1 });
  });
});

describe("durability", () => {
  it("commits are kept when the file is opened again", async () => {
    const storage = await opened();
    await storage.transaction(async (transaction) => {
      await transaction.insert([queuedRun(1)]);
      await transaction.save({ changes: [], holds: [], entries: [returnedEntry(runId(1), 1)] });
    });
    await storage.close();
    const again = await opened();
    expect(await again.read((reader) => reader.load([runId(1)]))).toEqual([queuedRun(1, { tail: 1 })]);
  });

  it("SQLite commits with synchronous=FULL in WAL mode, at the first and every later open", () => {
    for (const time of ["first", "second"]) {
      const connection = connect(driver, path, undefined);
      expect([time, connection.pragma("synchronous"), connection.pragma("journal_mode")]).toEqual([time, 2, "wal"]);
      connection.close();
    }
  });

  it("a SQLite build that ignores synchronous=FULL is refused", () => {
    class Careless extends driver {
      override exec(script: string): void {
        super.exec(script.replace("synchronous = FULL", "synchronous = NORMAL"));
      }
    }
    expect(() => connect(Careless, path, undefined)).toThrow(/kept synchronous at 1 instead of 2/);
  });

  it("a SQLite database in memory is refused", async () => {
    await expect(async () => connect(driver, ":memory:", undefined)).rejects.toMatchObject({
      code: "STORAGE_NOT_DURABLE",
    });
  });

  it("close leaves one file, and only its owner may read the files", async () => {
    const storage = await opened();
    await storage.transaction((transaction) => transaction.insert([queuedRun(1)]));
    const modes = await Promise.all([path, `${path}-wal`, `${path}.lock`].map(async (file) => (await stat(file)).mode));
    expect(modes.map((mode) => mode & 0o777)).toEqual([0o600, 0o600, 0o600]);
    await storage.close();
    const log = await stat(`${path}-wal`).catch(() => ({ size: 0 }));
    expect(log.size).toBe(0);
  });

  it.each([
    ["3.51.3", true],
    ["3.52.0", true],
    ["4.0.0", true],
    ["3.51.2", false],
    ["3.50.7", true],
    ["3.50.6", false],
    ["3.44.6", true],
    ["3.45.1", false],
    ["3.40.1", false],
  ])("SQLite %s is safe against file corruption: %s", (version, safe) => {
    expect(isSafe(version.split(".").map(Number))).toBe(safe);
  });
});

describe("faults", () => {
  it("a full disk rolls back the transaction, reads work, and writes work again when there is space", async () => {
    const lock = lockDatabase(driver, path);
    const connection = connect(driver, path, undefined);
    migrate(connection, 1);
    const storage = new SqliteStorage({ connection, lock, path, files: new OpenFiles(), env });
    toClose.push(() => storage.close());
    await storage.transaction((transaction) => transaction.insert([queuedRun(1)]));
    connection.script("PRAGMA max_page_count = 40");

    const big = entryWith(runId(1), 1, { type: "returned", output: "x".repeat(1_000_000) });
    const writing = storage.transaction(async (transaction) => {
      await transaction.insert([queuedRun(2)]);
      return transaction.save({ changes: [], holds: [], entries: [big] });
    });
    await expect(writing).rejects.toMatchObject({ code: "STORAGE_FULL", cause: { errcode: 13 } });
    expect(await storage.read((reader) => reader.load([runId(1), runId(2)]))).toEqual([queuedRun(1)]);

    connection.script("PRAGMA max_page_count = 1000000");
    const entries = [big];
    expect(await storage.transaction((tx) => tx.save({ changes: [], holds: [], entries }))).toEqual([]);
  });

  it("a damaged file is refused and not changed", async () => {
    const storage = await opened();
    const runs = Array.from({ length: 200 }, (_, n) => queuedRun(n));
    await storage.transaction((transaction) => transaction.insert(runs));
    await storage.close();
    const connection = connect(driver, path, undefined);
    const roots = connection.all("SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'run' AND rootpage > 0");
    connection.close();
    const file = await open(path, "r+");
    for (const { rootpage } of roots) {
      await file.write(Buffer.alloc(4000, 0xa5), 0, 4000, (Number(rootpage) - 1) * 4096);
    }
    await file.close();
    const damaged = await readFile(path);

    const again = await opened();
    const reading = again.read((reader) => reader.load(runs.map((run) => run.id)));
    await expect(reading).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    const writing = again.transaction((transaction) => transaction.insert([queuedRun(999)]));
    await expect(writing).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    await again.close();
    expect((await readFile(path)).equals(damaged)).toBe(true);
  });

  it("nothing is written after SQLite has found damage", async () => {
    class Damaged extends driver {
      override prepare(statement: string): PreparedStatement {
        if (statement !== sql.loadRun) return super.prepare(statement);
        throw Object.assign(new Error("malformed"), { errcode: 267 });
      }
    }
    const connection = connect(Damaged, path, undefined);
    migrate(connection, 1);
    const lock = { release: () => undefined };
    const storage = new SqliteStorage({ connection, lock, path, files: new OpenFiles(), env });
    toClose.push(() => storage.close());
    expect(await storage.transaction((transaction) => transaction.insert([queuedRun(1)]))).toEqual([runId(1)]);
    const damaged = { code: "STORAGE_CORRUPT" };
    await expect(storage.read((reader) => reader.load([runId(1)]))).rejects.toMatchObject(damaged);
    const writing = storage.transaction((transaction) => transaction.insert([queuedRun(2)]));
    await expect(writing).rejects.toMatchObject(damaged);
    expect(connection.first("SELECT count(*) AS runs FROM run")).toMatchObject({ runs: 1 });
  });

  it("a transaction that cannot write executes no statement", async () => {
    const storage = await opened();
    const other = new driver(path);
    toClose.push(() => other.close());
    other.exec("BEGIN IMMEDIATE");
    let begun = false;
    const writing = storage.transaction(async () => {
      begun = true;
    });
    await expect(writing).rejects.toMatchObject({ code: "STORAGE_BUSY" });
    expect(begun).toBe(false);
    other.exec("ROLLBACK");
    expect(await storage.transaction((transaction) => transaction.insert([queuedRun(1)]))).toEqual([runId(1)]);
  });

  it("a file that is not a database is refused, and its lock is released", async () => {
    await writeFile(path, "dear diary, ".repeat(1_000));
    await expect(openSqlite({ path, env })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(await readFile(path, "utf8")).toContain("dear diary");
    await rm(path);
    await opened();
  });

  it("the error for an unreadable row names the run", async () => {
    const storage = await opened();
    await storage.transaction((transaction) => transaction.insert([queuedRun(1)]));
    await storage.close();
    const other = new driver(path);
    other.exec("UPDATE run SET state = '{'");
    other.close();
    const again = await opened();
    const read = again.read((reader) => reader.load([runId(1)]));
    await expect(read).rejects.toMatchObject({ code: "ROW_UNREADABLE", ids: { runId: runId(1) } });
  });

  it("the database of another program is refused", async () => {
    const other = new driver(path);
    other.exec("CREATE TABLE run (song TEXT)");
    other.close();
    await expect(openSqlite({ path, env })).rejects.toMatchObject({ code: "DATABASE_FOREIGN" });
  });

  it("a directory is refused as a database", async () => {
    const refused = { code: "STORAGE_UNAVAILABLE", message: expect.stringContaining("is not a file") };
    await expect(openSqlite({ path: directory, env })).rejects.toMatchObject(refused);
    expect(await readdir(tmpdir())).not.toContain(`${basename(directory)}.lock`);
  });
});

describe("a path that cannot be opened", () => {
  it.each([
    ["EACCES", "STORAGE_READ_ONLY", /may not be written/],
    ["EPERM", "STORAGE_READ_ONLY", /may not be written/],
    ["EROFS", "STORAGE_READ_ONLY", /may not be written/],
    ["EISDIR", "STORAGE_UNAVAILABLE", /is a directory/],
    ["ELOOP", "STORAGE_UNAVAILABLE", /symbolic links in a circle/],
    ["ENAMETOOLONG", "STORAGE_UNAVAILABLE", /too long/],
    ["ENOTDIR", "STORAGE_UNAVAILABLE", /a file and not a directory/],
    ["ENOSPC", "STORAGE_FULL", /disk is full/],
    ["EDQUOT", "STORAGE_FULL", /disk is full/],
    ["EIO", "STORAGE_IO", /failed to read or write/],
    ["EMFILE", "STORAGE_UNAVAILABLE", /does not let it be opened/],
  ])("a path that fails with %s has the error code %s", (system, code, sentence) => {
    const explained = explainFailure(Object.assign(new Error(system), { code: system, syscall: "open" }), path);
    expect(explained).toMatchObject({ code, message: expect.stringMatching(sentence), ids: { path } });
    expect(Object(explained).message).toContain(`(${system})`);
  });

  it("a database in a read-only directory is refused", async () => {
    await chmod(directory, 0o555);
    await asOther(() => expect(openSqlite({ path, env })).rejects.toMatchObject({ code: "STORAGE_READ_ONLY" }));
    await chmod(directory, 0o755);
  });

  it("a read-only database file is refused", async () => {
    await (await opened()).close();
    await chmod(path, 0o444);
    await chmod(`${path}.lock`, 0o666);
    await chmod(directory, 0o777);
    // SQLite then opens the file read-only, and fails when it opens the log.
    const code = expect.stringMatching(/^STORAGE_(READ_ONLY|UNAVAILABLE)$/);
    const refused = { code, message: expect.stringMatching(/the file may be written|permissions of the file/) };
    await asOther(() => expect(openSqlite({ path, env })).rejects.toMatchObject(refused));
  });
});

/** Root may write everywhere, so if this process is root, the work is done as the user "nobody". */
async function asOther(work: () => Promise<unknown>): Promise<void> {
  const user = process.geteuid?.();
  if (user === 0) process.seteuid?.(65_534);
  try {
    await work();
  } finally {
    if (user === 0) process.seteuid?.(0);
  }
}

describe("migrations", () => {
  /** Reverts migrations 6 and 7 to the schema of migration 5, so far that it can be applied again. */
  const beforeLists = [
    ...sqliteBeforeStats,
    "DROP TRIGGER run_tag_inserted",
    "DROP TRIGGER run_tag_deleted",
    "DROP TABLE run_tag",
    "DROP INDEX run_created",
    "DROP INDEX run_error",
    "ALTER TABLE run DROP COLUMN error_code",
  ];
  const change = (statement: string, ...values: Cell[]): void => {
    const connection = connect(driver, path, undefined);
    connection.run(statement, ...values);
    connection.close();
  };

  it("SQLite refuses a schema that differs from the migrations", async () => {
    await (await opened()).close();
    change("UPDATE migration SET checksum = 'other' WHERE number = 1");
    await expect(openSqlite({ path, env })).rejects.toMatchObject({ code: "SCHEMA_DRIFT", ids: { migration: "1" } });
  });

  it("SQLite refuses a schema that is newer than the code", async () => {
    await (await opened()).close();
    change("INSERT INTO migration (number, name, checksum, applied_at) VALUES (99, 'later', 'x', 1)");
    await expect(openSqlite({ path, env })).rejects.toMatchObject({ code: "SCHEMA_TOO_NEW", ids: { migration: "99" } });
  });

  it("the SQLite migration to call sites and builds keeps existing runs and entries", async () => {
    const storage = await opened();
    await storage.transaction((tx) => tx.insert([queuedRun(1)]));
    await storage.transaction((tx) => tx.save({ changes: [], holds: [], entries: [returnedEntry(runId(1), 1)] }));
    await storage.close();
    for (const statement of beforeLists) change(statement);
    change("ALTER TABLE entry DROP COLUMN call_site");
    change("DROP INDEX run_stalled_child");
    change("DELETE FROM migration WHERE number >= 4");
    const again = await opened();
    const [journal] = await again.read((reader) =>
      reader.journal([{ runId: runId(1), after: 0, limit: 9, bytes: 1e9 }]),
    );
    expect(journal).toEqual([returnedEntry(runId(1), 1)]);
    expect(await again.read((reader) => reader.load([runId(1)]))).toEqual([queuedRun(1, { tail: 1 })]);
  });

  it("the SQLite migration to list indexes lists existing runs", async () => {
    const storage = await opened();
    await storage.transaction((tx) => tx.insert(unlisted));
    const before = await countsOf(storage);
    await storage.close();
    for (const statement of [...beforeLists, "DELETE FROM migration WHERE number >= 6"]) change(statement);
    expect(await countsOf(await opened())).toEqual(before);
    expect(before).toEqual(unlistedCounts);
  });

  it("deleting a run in SQLite deletes its tags", async () => {
    const storage = await opened();
    await storage.transaction((tx) => tx.insert(unlisted));
    await storage.close();
    const connection = connect(driver, path, undefined);
    expect(connection.all("SELECT DISTINCT run_id FROM run_tag")).toHaveLength(2);
    connection.run("DELETE FROM run");
    expect(connection.all("SELECT * FROM run_tag")).toEqual([]);
    connection.close();
  });

  it("a failed SQLite migration leaves nothing behind, and the next open applies it", async () => {
    class Failing extends driver {
      override exec(script: string): void {
        super.exec(script);
        if (script.includes("CREATE TABLE entry")) throw new Error("crashed");
      }
    }
    const connection = connected(Failing);
    expect(() => migrate(connection, 1)).toThrow("crashed");
    connection.close();
    toClose.pop();
    const storage = await opened();
    expect(await storage.transaction((transaction) => transaction.insert([queuedRun(1)]))).toEqual([runId(1)]);
  });
});

describe("cost", () => {
  it("a batch needs one statement per row and one commit", async () => {
    const executed: string[] = [];
    const storage = await opened(path, (statement) => executed.push(statement));
    executed.length = 0;
    const runs = [queuedRun(1), queuedRun(2)];
    await storage.transaction((transaction) => transaction.insert(runs));
    expect(executed.splice(0)).toEqual([sql.begin, sql.insertRun, sql.insertRun, sql.commit]);

    const changes = runs.map((run) => next(run, { state: runningState() }));
    const holds = [{ id: runId(1), revision: 2 }];
    const entries = [1, 2].map((seq) => returnedEntry(runId(1), seq));
    expect(await storage.transaction((transaction) => transaction.save({ changes, holds, entries }))).toEqual([]);
    const updates = [sql.updateRun, sql.updateRun, sql.holdRun, sql.insertEntry, sql.insertEntry];
    expect(executed.splice(0)).toEqual([sql.begin, ...updates, sql.commit]);

    await storage.read((reader) => reader.load([runId(1)]));
    expect(executed.splice(0)).toEqual([sql.loadRun]);

    await storage.transaction((transaction) => transaction.reuse(runId(1), runId(3)));
    expect(executed.splice(0)).toEqual([sql.begin, sql.selectOutline, sql.copyEntry, sql.copyEntry, sql.commit]);
  });

  it("the number of prepared statements is bounded, because each combination of filters has its own", () => {
    const prepared: string[] = [];
    class Counting extends driver {
      override prepare(statement: string): PreparedStatement {
        prepared.push(statement);
        return super.prepare(statement);
      }
    }
    const connection = connected(Counting);
    const read = (n: number) => connection.first(`SELECT ${n} AS n`);
    read(0);
    prepared.length = 0;
    for (let n = 0; n <= 1_000; n += 1) expect(read(n)).toMatchObject({ n });
    expect(prepared).not.toContain("SELECT 0 AS n");
    expect(read(0)).toMatchObject({ n: 0 });
    expect(prepared.at(-1)).toBe("SELECT 0 AS n");
  });

  it.each(uncounted)(
    "the SQLite count of the filter %j includes rows outside the dates and of other namespaces",
    async (request, expected) => {
      const storage = await opened();
      for (const run of outOfReach) await storage.transaction((tx) => tx.insert([run]));
      await storage.close();
      const { sql: query, values } = countQuery("default", request, uncountedLimits, narrowSources(request));
      expect(Number(connected().first(query, ...values)?.count_0)).toBe(expected);
    },
  );

  it("a failed batch is rolled back once", async () => {
    const executed: string[] = [];
    const storage = await opened(path, (statement) => executed.push(statement));
    executed.length = 0;
    await expect(storage.transaction(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(executed).toEqual([sql.begin, sql.rollback]);
  });

  const plans: Array<[name: string, query: string, values: Cell[], plan: string]> = [
    ["selectQueued", sql.selectQueued, ["a", "b", "c", null, 5], "USING COVERING INDEX run_queued"],
    ["selectDue", sql.selectDue, [5, 5], "USING COVERING INDEX run_due"],
    ["selectNextDue", sql.selectNextDue, [], "USING COVERING INDEX run_due"],
    ["selectChildren", sql.selectChildren, ["a", 5], "USING INDEX run_live_child"],
    ["selectStalledChild", sql.selectStalledChild, ["a"], "USING INDEX run_stalled_child"],
    ["selectInSession", sql.selectInSession, ["a", "default", 500], "run_claimed"],
    ["selectClaimed", sql.selectClaimed, ["a", "b"], "USING COVERING INDEX run_claimed"],
    ["loadRun", sql.loadRun, ["a"], "USING PRIMARY KEY"],
    ["loadReferenced", sql.loadReferenced, ["a", "b", "c"], "USING INDEX run_reference"],
    ["selectJournal", sql.selectJournal, ["a", 5, 5], "USING PRIMARY KEY"],
    ["selectEntryAt", sql.selectEntryAt, ["a", "b", 1], "USING INDEX entry_address"],
  ];
  const listed: Array<[request: FindRequest, plan: string]> = [
    [{}, "run_created (namespace=?"],
    [{ versionId: "1", createdAfter: 5, order: "oldest" }, "run_created (namespace=? AND created_at>?"],
    [{ name: "order", createdBefore: 9 }, "run_name (namespace=? AND name=? AND created_at<?"],
    [{ parentId: "p5" }, "run_parent (namespace=? AND parent_id=?"],
    [{ tags: ["red"], shardKey: "eu" }, "SEARCH tagged USING PRIMARY KEY (namespace=? AND tag=?"],
    [{ errorCode: "E" }, "run_error (namespace=? AND error_code=?"],
    [{ status: ["failed"] }, "run_status (namespace=? AND status=?"],
    [{ status: ["failed", "stalled", "sleeping"] }, "run_status (namespace=? AND status=?"],
  ];
  const listLimits = { limit: 5, scan: 100, after: { createdAt: 9, id: runId(1) } };
  for (const [request, plan] of listed) {
    const source = chosenSource(narrowSources(request), [], listLimits);
    const { sql: query, values } = examinedQuery("n", request, listLimits, source);
    plans.push([`the list of ${JSON.stringify(request)}`, query, values, plan]);
    if (source.parts.every(({ type }) => type === "namespace")) continue;
    const count = countQuery("n", request, listLimits, [source]);
    plans.push([`the count of ${JSON.stringify(request)}`, count.sql, count.values, plan]);
  }

  it.each(plans)("%s reads an index in order", (_name, query, values, plan) => {
    const connection = connected();
    migrate(connection, 1);
    const details = connection.all(`EXPLAIN QUERY PLAN ${query}`, ...values).map((row) => String(row.detail));
    expect(details.join()).toContain(plan);
    expect(details.join()).not.toContain("TEMP B-TREE FOR");
  });
});

it.runIf(process.versions.node.startsWith("20."))("the packaged binary of SQLite is loaded", () => {
  const report: { sharedObjects: string[] } = JSON.parse(JSON.stringify(process.report.getReport()));
  const binaries = report.sharedObjects.filter((file) => file.includes("sqlite") && file.endsWith(".node"));
  expect(binaries).toHaveLength(1);
  expect(binaries[0]).toContain("prebuilds");
});
