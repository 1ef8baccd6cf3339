/** A PgBouncer in transaction mode in front of a database. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { userOf } from "./cluster.ts";
import { installPackage } from "./debian.ts";
import { freePort } from "./machine.ts";

export interface Pooler {
  /** The same database, through the pooler. */
  url: string;
  close(): Promise<void>;
}

const advice =
  "There is no PgBouncer to test with. Install one (apt install pgbouncer, brew install pgbouncer), or run the tests " +
  "as root on Debian, where they install it by themselves.";

/**
 * The path of the program. If it is missing, it is installed if possible; else this logs a warning and returns null.
 */
export async function findPooler(): Promise<string | null> {
  const found = installed() ?? ((await installPackage("pgbouncer")) ? installed() : null);
  if (found === null) console.error(`\nSKIPPED: ${advice}\n`);
  return found;
}

function installed(): string | null {
  const directories = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/opt/homebrew/bin", "/usr/local/bin"];
  return directories.map((directory) => join(directory, "pgbouncer")).find((program) => existsSync(program)) ?? null;
}

export interface PoolerOptions {
  program: string;
  /** The parent directory of the directory with its files. */
  directory: string;
  /** The url of the database behind it. */
  database: string;
  /** The maximum number of connections to PostgreSQL. */
  connections: number;
  /** How long a client keeps a connection. Default `transaction`. */
  mode?: "session" | "transaction" | "statement";
  /** How long a client waits for a connection. Seconds. */
  waitTimeoutS?: number;
}

export async function startPooler(options: PoolerOptions): Promise<Pooler> {
  const { program, directory, database } = options;
  const target = new URL(database);
  const ownDirectory = await mkdtemp(join(directory, "pgbouncer-"));
  const port = await freePort();
  const user = await userOf(ownDirectory);
  const file = join(ownDirectory, "pgbouncer.ini");
  await writeFile(file, configuration(target, port, options));
  if (user.uid !== undefined && user.gid !== undefined) await chown(file, user.uid, user.gid);
  const child = spawn(program, [file], { ...user, cwd: ownDirectory, stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  let output = "";
  child.stderr.on("data", (chunk) => {
    output += String(chunk);
  });
  await Promise.race([
    untilConnectable(port),
    exited.then(() => Promise.reject(new Error(`PgBouncer ended: ${output}`))),
  ]);
  const url = new URL(database);
  [url.hostname, url.port] = ["127.0.0.1", String(port)];
  return {
    url: url.href,
    async close() {
      child.kill("SIGKILL");
      await exited;
      await rm(ownDirectory, { recursive: true, force: true });
    },
  };
}

function configuration(
  target: URL,
  port: number,
  { connections, mode = "transaction", waitTimeoutS = 120 }: PoolerOptions,
): string {
  const name = target.pathname.slice(1);
  const login = `user=${target.username}${target.password === "" ? "" : ` password=${target.password}`}`;
  return `[databases]
${name} = host=${target.hostname} port=${target.port || "5432"} dbname=${name} ${login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = ${connections}
max_client_conn = 200
query_wait_timeout = ${waitTimeoutS}
server_login_retry = 1
`;
}

/** Resolves when a program accepts connections on the port. */
async function untilConnectable(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const isUp = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
