/** Finds the program of Redis on this machine. On Debian, root installs it if it is missing. */

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { installPackage } from "./debian.ts";

/** The path of the program, or null. */
export async function findRedisServer(): Promise<string | null> {
  return onPath() ?? ((await installPackage("redis-server")) ? onPath() : null);
}

function onPath(): string | null {
  const directories = (process.env.PATH ?? "").split(delimiter);
  const programs = directories.flatMap((directory) =>
    ["redis-server", "valkey-server"].map((name) => join(directory, name)),
  );
  return programs.find((program) => existsSync(program)) ?? null;
}
