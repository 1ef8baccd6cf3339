import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { isSkipped, isSource } from "./watch.ts";

/** The maximum number of files to read; further files are ignored. */
const maxFiles = 20_000;

/**
 * An id of the sources below `root`, which changes when a file is added, removed or written. Replay uses it to detect
 * that the code has changed since a run was recorded.
 */
export function buildIdOf(root: string): string {
  const hash = createHash("sha256");
  for (const file of filesBelow(root)) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${relative(root, file)} ${size} ${mtimeMs}\n`);
  }
  return `dev-${hash.digest("hex").slice(0, 16)}`;
}

function filesBelow(root: string): string[] {
  const files: string[] = [];
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined && files.length < maxFiles; folder = folders.pop()) {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && !isSkipped(entry.name)) folders.push(path);
      else if (entry.isFile() && isSource(entry.name)) files.push(path);
    }
  }
  return files.sort();
}
