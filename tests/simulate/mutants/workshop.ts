/** A copy of the checkout's sources in a directory of its own, in which rules can be broken without harm. */

import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../../..");
const packages = ["lib", "task", "workflow", "client", "worker", "server"];

export interface Workshop {
  directory: string;
  /** Replaces exact texts; throws when one does not stand there exactly once. Returns what puts everything back. */
  alter: (edits: readonly Edit[]) => Promise<() => Promise<void>>;
  dispose: () => Promise<void>;
}

export interface Edit {
  /** From the root of the checkout. */
  file: string;
  from: string;
  to: string;
}

export async function openWorkshop(): Promise<Workshop> {
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
    alter: (edits) => alter(directory, edits),
    dispose: () => rm(directory, { recursive: true, force: true }),
  };
}

/** What is installed, but for our own packages, which are the copies. */
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

async function alter(directory: string, edits: readonly Edit[]): Promise<() => Promise<void>> {
  const originals = new Map<string, string>();
  for (const { file, from, to } of edits) {
    const path = join(directory, file);
    const text = await readFile(path, "utf8");
    const times = text.split(from).length - 1;
    if (times !== 1) throw new Error(`${file} holds the text ${times} times instead of once: ${from}`);
    if (!originals.has(path)) originals.set(path, text);
    await writeFile(
      path,
      text.replace(from, () => to),
    );
  }
  return async () => {
    for (const [path, text] of originals) await writeFile(path, text);
  };
}
