/** A private PostgreSQL cluster in a directory, on a free port. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { appendFile, chown, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { endWith, freePort } from "./machine.ts";

const run = promisify(execFile);

export interface Cluster {
  /** The url of a role that may create databases. */
  url: string;
  /** `pg_ctl` with these arguments, for tests that restart it. */
  control(...args: string[]): Promise<void>;
  /** Adds a line to its configuration file, which takes effect at the next start or reload. */
  configure(line: string): Promise<void>;
  /** Configures it as a standby of another cluster. Takes effect at its next start. */
  follow(primary: Cluster): Promise<void>;
}

const listening = ["listen_addresses=127.0.0.1", "unix_socket_directories="];

/** Fast settings for tests. With them, commits do not survive a power failure. */
const notDurable: readonly string[] = [
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
 * Creates and starts a cluster in a directory with the programs in `binaries`. It stops when the process with the id
 * `owner` has exited.
 */
export async function startCluster(
  binaries: string,
  directory: string,
  owner: number,
  settings: readonly string[] = notDurable,
): Promise<Cluster> {
  const initialise: Initialise = (program, dataDirectory) =>
    program("initdb", "-D", dataDirectory, "-U", "aiki", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync");
  return startIn({ binaries, directory, owner, settings }, initialise);
}

/**
 * Starts a standby of a running cluster, which streams from it under the name `standby`. Roles, databases and system
 * identifier are the same.
 */
export function startStandby(binaries: string, directory: string, owner: number, primary: Cluster): Promise<Cluster> {
  const initialise: Initialise = (program, dataDirectory) =>
    program(
      "pg_basebackup",
      "-D",
      dataDirectory,
      "-d",
      conninfo(primary),
      "-R",
      "-X",
      "stream",
      "-c",
      "fast",
      "--no-sync",
    );
  return startIn({ binaries, directory, owner, settings: notDurable }, initialise);
}

/** Whether this installation of PostgreSQL has the program that `startStandby` needs. */
export function canStream(binaries: string): boolean {
  return existsSync(join(binaries, "pg_basebackup"));
}

function conninfo({ url }: Cluster): string {
  const { hostname, port, username } = new URL(url);
  return `host=${hostname} port=${port} user=${username} application_name=standby`;
}

type Initialise = (
  program: (name: string, ...args: string[]) => Promise<unknown>,
  dataDirectory: string,
) => Promise<unknown>;

interface ClusterStart {
  binaries: string;
  directory: string;
  owner: number;
  settings: readonly string[];
}

async function startIn(
  { binaries, directory, owner, settings }: ClusterStart,
  initialise: Initialise,
): Promise<Cluster> {
  const user = await userOf(directory);
  const dataDirectory = join(directory, "data");
  const port = await freePort();
  const program = (name: string, ...args: string[]) => run(join(binaries, name), args, { ...user, cwd: directory });
  const control = async (...args: string[]): Promise<void> => {
    await program("pg_ctl", "-D", dataDirectory, "-w", "-s", "-l", join(directory, "log"), ...args);
  };
  const configure = (line: string) => appendFile(join(dataDirectory, "postgresql.auto.conf"), `${line}\n`);
  await initialise(program, dataDirectory);
  const options = [...listening, ...settings, `port=${port}`].map((setting) => `-c ${setting}`).join(" ");
  await control("start", "-o", options).catch(async (cause: unknown) => {
    const log = await readFile(join(directory, "log"), "utf8").catch(() => "");
    throw new Error(`PostgreSQL did not start: ${log}`, { cause });
  });
  endWith(owner, join(dataDirectory, "postmaster.pid"), "QUIT");
  const follow = async (primary: Cluster): Promise<void> => {
    await configure(`primary_conninfo = '${conninfo(primary)}'`);
    await writeFile(join(dataDirectory, "standby.signal"), "");
  };
  return { url: `postgres://aiki@127.0.0.1:${port}/postgres`, control, configure, follow };
}

/** PostgreSQL refuses to run as root. If this process is root, PostgreSQL runs as the user `nobody` instead. */
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
