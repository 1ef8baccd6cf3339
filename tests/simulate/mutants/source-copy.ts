/** A copy of the sources in a temporary directory, which mutants may change. */

import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Mutant } from "./list.ts";
import { findMarked, mutated } from "./markers.ts";

const root = resolve(import.meta.dirname, "../../..");
const packages = await readdir(join(root, "packages"));

export interface SourceCopy {
  directory: string;
  /** Applies the mutant, and returns a function that restores the file. Throws if its line does not exist. */
  alter: (mutant: Mutant) => Promise<() => Promise<void>>;
  dispose: () => Promise<void>;
}

export async function openSourceCopy(): Promise<SourceCopy> {
  const directory = await mkdtemp(join(tmpdir(), "aiki-mutants-"));
  for (const name of packages) {
    await cp(join(root, "packages", name, "src"), join(directory, "packages", name, "src"), { recursive: true });
    await cp(join(root, "packages", name, "package.json"), join(directory, "packages", name, "package.json"));
    await link(join(root, "packages", name, "node_modules"), join(directory, "packages", name, "node_modules"));
  }
  await cp(join(root, "tests", "simulate"), join(directory, "tests", "simulate"), { recursive: true });
  for (const file of ["package.json", "tests/package.json"]) await cp(join(root, file), join(directory, file));
  await linkModules(directory);
  await link(join(root, "tests", "node_modules"), join(directory, "tests", "node_modules"));
  return {
    directory,
    alter: (mutant) => alter(directory, mutant),
    dispose: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Links the installed packages, except our own, which are the copies. */
async function linkModules(directory: string): Promise<void> {
  const modules = join(directory, "node_modules");
  await mkdir(join(modules, "@aikirun"), { recursive: true });
  for (const name of await readdir(join(root, "node_modules"))) {
    if (name !== "@aikirun" && !name.startsWith(".")) await link(join(root, "node_modules", name), join(modules, name));
  }
  for (const name of packages) await symlink(join(directory, "packages", name), join(modules, "@aikirun", name));
}

async function link(from: string, to: string): Promise<void> {
  const isThere = await readdir(from).then(
    () => true,
    () => false,
  );
  if (isThere) await symlink(from, to);
}

async function alter(directory: string, mutant: Mutant): Promise<() => Promise<void>> {
  const { path, at, line } = mutated(mutant, await findMarked(directory));
  const original = await readFile(path, "utf8");
  await writeFile(path, original.split("\n").with(at, line).join("\n"));
  return () => writeFile(path, original);
}
