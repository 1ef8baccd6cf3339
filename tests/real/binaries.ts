/** Finds the programs of PostgreSQL on this machine. */

import { existsSync, readdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { embeddedBinaries } from "./embedded.ts";

/** Searches the PATH, the directories of distributions, and then npm packages, which may be copied to `directory`. */
export async function findBinaries(directory: string): Promise<string | null> {
  const places = [...onPath(), ...installed()];
  return places.find(isComplete) ?? (await embeddedBinaries(directory));
}

function onPath(): string[] {
  return (process.env.PATH ?? "")
    .split(":")
    .map((directory) => join(directory, "initdb"))
    .filter((program) => existsSync(program))
    .map((program) => dirname(realpathSync(program)));
}

function installed(): string[] {
  const roots = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];
  const found = roots
    .filter((root) => existsSync(root))
    .flatMap((root) => readdirSync(root).map((name) => ({ root, name, version: Number(/(\d+)$/.exec(name)?.[1]) })));
  return found
    .filter(({ version }) => version >= 14)
    .sort((left, right) => right.version - left.version)
    .map(({ root, name }) => join(root, name, "bin"));
}

function isComplete(directory: string): boolean {
  return ["initdb", "pg_ctl", "postgres"].every((program) => existsSync(join(directory, program)));
}
