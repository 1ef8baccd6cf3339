/** A SQLite server whose files are deleted, moved or replaced acknowledges nothing more, and logs it. */

import { copyFile, mkdir, mkdtemp, readdir, readlink, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyedStorage } from "../../packages/server/src/storage/keys.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import { queuedRun, runId } from "./records.ts";

const env = { now: (): number => 1_000 };
const lost = { code: "STORAGE_FILE_LOST" };
const isWindows = process.platform === "win32";
if (isWindows) console.error("\nSKIPPED: on Windows a server does not detect that its SQLite file is lost.\n");

let outer: string;
let directory: string;
let path: string;
const toClose: Array<() => unknown> = [];

beforeEach(async () => {
  outer = await mkdtemp(join(tmpdir(), "aiki-files-"));
  directory = join(outer, "data");
  path = join(directory, "aiki.db");
});
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
  await rm(outer, { recursive: true });
});

/** A logger, the logged errors, and a promise of the first one. */
function errorLog(): { logger: Logger; errors: string[]; first: Promise<string> } {
  const errors: string[] = [];
  let resolve = (_: string): void => {};
  const first = new Promise<string>((fulfil) => {
    resolve = fulfil;
  });
  const ignore = (): void => {};
  const error = (message: string, fields?: Readonly<Record<string, unknown>>) => {
    errors.push(`${message} ${JSON.stringify(fields)}`);
    resolve(errors.join("\n"));
  };
  const logger: Logger = { debug: ignore, info: ignore, warn: ignore, error, child: () => logger };
  return { logger, errors, first };
}

async function opened(logger?: Logger): Promise<KeyedStorage> {
  const storage = await openSqlite({ path, env, ...(logger && { logger }) });
  toClose.push(() => storage.close());
  return storage;
}

function insert(storage: KeyedStorage, n: number): Promise<unknown> {
  return storage.transaction((transaction) => transaction.insert([queuedRun(n)]));
}

async function replace(file: string): Promise<void> {
  await writeFile(`${file}.new`, "");
  await rename(`${file}.new`, file);
}

const losses: Array<[what: string, lose: () => Promise<unknown>]> = [
  ["the file is deleted", () => rm(path)],
  ["the lock file is deleted", () => rm(`${path}.lock`)],
  ["the log of the file is deleted", () => rm(`${path}-wal`)],
  ["the index of the log is deleted", () => rm(`${path}-shm`)],
  ["the file is moved", () => rename(path, `${path}.old`)],
  ["the file is replaced by another", () => replace(path)],
  ["the lock file is replaced by another", () => replace(`${path}.lock`)],
  ["the directory is deleted", () => rm(directory, { recursive: true })],
  ["the directory is moved", () => rename(directory, `${directory}.old`)],
  [
    "the directory is replaced by a file",
    async () => {
      await rename(directory, `${directory}.old`);
      await writeFile(directory, "");
    },
  ],
  [
    "the directory is replaced by another",
    async () => {
      await rename(directory, `${directory}.old`);
      await mkdir(directory);
      await (await openSqlite({ path, env })).close();
    },
  ],
];

describe.skipIf(isWindows)("a database whose files are lost", () => {
  it.each(losses)("a database acknowledges no write when %s", async (_, lose) => {
    const { logger, errors } = errorLog();
    const storage = await opened(logger);
    await insert(storage, 1);
    await lose();
    await expect(insert(storage, 2)).rejects.toMatchObject(lost);
    await expect(storage.read((reader) => reader.load([runId(1)]))).rejects.toMatchObject(lost);
    await expect(storage.keys.touch([])).rejects.toMatchObject(lost);
    expect(errors).toEqual([expect.stringMatching(/no longer uses its database.*STORAGE_FILE_LOST.*aiki\.db/)]);
  });

  it.each(losses)("a database refuses reads when %s", async (_, lose) => {
    const storage = await opened();
    await insert(storage, 1);
    await lose();
    await expect(storage.read((reader) => reader.nextDue())).rejects.toMatchObject(lost);
  });

  it("a database whose files return stays refused, because others may have used them meanwhile", async () => {
    const storage = await opened();
    await rename(directory, `${directory}.old`);
    await expect(insert(storage, 1)).rejects.toMatchObject(lost);
    await rename(`${directory}.old`, directory);
    await expect(insert(storage, 1)).rejects.toMatchObject(lost);
  });

  it("a server whose files were replaced does not touch the files of its successor", async () => {
    const first = await opened();
    await insert(first, 1);
    await rm(directory, { recursive: true });
    const second = await opened();
    await insert(second, 2);
    await expect(insert(first, 3)).rejects.toMatchObject(lost);
    await first.close();
    expect(await readdir(directory)).toContain("aiki.db-wal");
    await insert(second, 4);
    await second.close();
    const third = await opened();
    const found = await third.read((reader) => reader.load([1, 2, 3, 4].map(runId)));
    expect(found.map(({ id }) => id)).toEqual([runId(2), runId(4)]);
  });

  it("a database works after it opens its own file again, and while other programs read it", async () => {
    await (await opened()).close();
    const storage = await opened();
    await copyFile(path, join(outer, "backup.db"));
    await insert(storage, 1);
    expect(await storage.read((reader) => reader.load([runId(1)]))).toHaveLength(1);
  });

  it.runIf(process.platform === "linux")(
    "a deleted database file can be copied from /proc while its process lives",
    async () => {
      const storage = await opened();
      await insert(storage, 1);
      await rm(path);
      await rm(`${path}-wal`);
      const copy = join(outer, "rescued.db");
      for (const number of await readdir("/proc/self/fd")) {
        const link = await readlink(`/proc/self/fd/${number}`).catch(() => "");
        const [, suffix] = /aiki\.db(|-wal) \(deleted\)$/.exec(link) ?? [];
        if (suffix !== undefined) await copyFile(`/proc/self/fd/${number}`, `${copy}${suffix}`);
      }
      path = copy;
      const rescued = await opened();
      expect(await rescued.read((reader) => reader.load([runId(1)]))).toHaveLength(1);
    },
  );
});

describe.skipIf(isWindows)("a server whose file is lost", () => {
  async function started(logger: Logger): Promise<Server> {
    const aiki = await server({ database: `sqlite:${path}`, logger });
    toClose.push(() => aiki.close());
    return aiki;
  }

  it("a server detects that its file is lost, logs it, is not ready, and refuses starts", async () => {
    const { logger, first } = errorLog();
    const aiki = await started(logger);
    const ready = () => aiki.fetch(new Request("http://localhost/health/ready"));
    expect((await ready()).status).toBe(200);
    await rm(path);
    expect(await first).toMatch(/STORAGE_FILE_LOST.*aiki\.db was deleted, moved or replaced/);
    expect((await ready()).status).toBe(503);
    const { results } = await aiki
      .api()
      .start({ runs: [{ id: runId(1), name: "order", versionId: "1" }] })
      .catch((error: unknown) => ({ results: [error] }));
    expect(results).toMatchObject([{ code: "UNAVAILABLE", cause: lost }]);
  });

  it("a server is not ready when a second server starts because the lock file was deleted", async () => {
    const { logger, first } = errorLog();
    const one = await started(logger);
    await rm(`${path}.lock`);
    const two = await started(errorLog().logger);
    expect(await first).toMatch(/aiki\.db\.lock was deleted, moved or replaced/);
    const statuses = [one, two].map(
      async (aiki) => (await aiki.fetch(new Request("http://localhost/health/ready"))).status,
    );
    expect(await Promise.all(statuses)).toEqual([503, 200]);
  });
});
