/** Finds the program of Redis on this machine. On Debian, root installs it if it is missing. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The path of the program, or null. */
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

/** Returns whether the installation succeeded. If it fails, updates the lists of packages and tries again. */
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
