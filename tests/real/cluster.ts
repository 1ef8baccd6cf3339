/** A PostgreSQL of our own: made in a directory, started on a free port, stopped without a trace. */

import { execFile } from "node:child_process";
import { chown, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { endWith, freePort } from "./machine.ts";

const run = promisify(execFile);

export interface Cluster {
  /** Of a role that may create databases. */
  url: string;
  /** `pg_ctl` with these arguments, for tests that restart it. */
  control(...args: string[]): Promise<void>;
}

const listening = ["listen_addresses=127.0.0.1", "unix_socket_directories="];

/** Fast and forgetful: nothing here is to survive a power cut. */
const forgetful: readonly string[] = [
  "max_connections=200",
  "shared_buffers=64MB",
  "fsync=off",
  "synchronous_commit=on",
  "full_page_writes=off",
  "max_wal_size=2GB",
  "autovacuum_naptime=5s",
  "log_min_messages=fatal",
];

/**
 * Makes and starts a cluster in a directory; the programs of PostgreSQL are in `binaries`. It ends when the process
 * with the id `owner` has ended, if nobody stops it before.
 */
export async function startCluster(
  binaries: string,
  directory: string,
  owner: number,
  settings: readonly string[] = forgetful,
): Promise<Cluster> {
  const user = await userOf(directory);
  const place = join(directory, "data");
  const port = await freePort();
  const program = (name: string, ...args: string[]) => run(join(binaries, name), args, { ...user, cwd: directory });
  const control = async (...args: string[]): Promise<void> => {
    await program("pg_ctl", "-D", place, "-w", "-s", "-l", join(directory, "log"), ...args);
  };
  await program("initdb", "-D", place, "-U", "aiki", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync");
  const options = [...listening, ...settings, `port=${port}`].map((setting) => `-c ${setting}`).join(" ");
  await control("start", "-o", options).catch(async (cause: unknown) => {
    const log = await readFile(join(directory, "log"), "utf8").catch(() => "");
    throw new Error(`PostgreSQL did not start: ${log}`, { cause });
  });
  endWith(owner, join(place, "postmaster.pid"), "QUIT");
  return { url: `postgres://aiki@127.0.0.1:${port}/postgres`, control };
}

/** PostgreSQL refuses root: as root, its files and processes are nobody's. */
export async function userOf(directory: string): Promise<{ uid?: number; gid?: number }> {
  await mkdir(directory, { recursive: true });
  if (process.getuid?.() !== 0) return {};
  const fields = (await readFile("/etc/passwd", "utf8"))
    .split("\n")
    .map((line) => line.split(":"))
    .find(([name]) => name === "nobody");
  if (fields === undefined) throw new Error("PostgreSQL refuses to run as root, and there is no user nobody.");
  const [uid = 65_534, gid = 65_534] = [Number(fields[2]), Number(fields[3])];
  await chown(directory, uid, gid);
  return { uid, gid };
}
