/** The program of Redis on this machine, fetched as root on Debian if it is not there. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Its path, or null. */
export async function findRedisServer(): Promise<string | null> {
  return onPath() ?? ((await install()) ? onPath() : null);
}

function onPath(): string | null {
  const directories = (process.env.PATH ?? "").split(delimiter);
  const programs = directories.flatMap((directory) =>
    ["redis-server", "valkey-server"].map((name) => join(directory, name)),
  );
  return programs.find((program) => existsSync(program)) ?? null;
}

/** Whether it worked. Lists of packages may be missing or old: then they are fetched and it is tried again. */
async function install(): Promise<boolean> {
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) return false;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args: string[]) =>
    run("apt-get", ["-q", ...args], { env }).then(
      () => true,
      () => false,
    );
  const get = () => apt("install", "-y", "--no-install-recommends", "redis-server");
  return (await get()) || ((await apt("update")) && (await get()));
}
