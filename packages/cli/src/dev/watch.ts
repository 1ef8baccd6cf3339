import { existsSync, type FSWatcher, readdirSync, watch } from "node:fs";
import { dirname, extname, join } from "node:path";

const sources = new Set([".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx", ".json"]);
const skipped = new Set(["node_modules", "dist", "build", "coverage"]);
/** How long no file changes before `onChange` is called: editors write a file in several steps. Milliseconds. */
const settleMs = 150;
const maxDirectories = 2_000;

/** The folder of the nearest package.json, below which a module imports its own sources. */
export function projectOf(file: string): string {
  const start = dirname(file);
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "package.json"))) return folder;
    if (dirname(folder) === folder) return start;
  }
}

/** Whether the file may be code that a workflow runs. */
export function isSource(name: string): boolean {
  return sources.has(extname(name)) && !name.startsWith(".");
}

/** Whether the folder holds only files that tools write. */
export function isSkipped(name: string): boolean {
  return name.startsWith(".") || skipped.has(name);
}

/**
 * Calls `onChange` with the path of a changed source below `root`, once for several changes in quick succession.
 * Returns a function that stops it.
 */
export function watchSources(root: string, onChange: (file: string) => void): () => void {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;

  const changed = (folder: string, name: string | null) => {
    if (name === null || name.startsWith(".")) return;
    const path = join(folder, name);
    if (!isSource(name)) {
      if (!isSkipped(name)) enter(path);
      return;
    }
    clearTimeout(timer);
    timer = setTimeout(() => onChange(path), settleMs);
  };

  const enter = (folder: string) => {
    if (watchers.has(folder) || watchers.size >= maxDirectories) return;
    const inner = foldersIn(folder);
    if (inner === null) return;
    const watcher = watch(folder, (_, name) => changed(folder, name));
    const leave = () => {
      watcher.close();
      watchers.delete(folder);
    };
    watcher.on("error", leave);
    watchers.set(folder, watcher);
    for (const name of inner) enter(join(folder, name));
  };

  enter(root);
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers.values()) watcher.close();
  };
}

/** Null if `folder` is not a folder or cannot be read. */
function foldersIn(folder: string): string[] | null {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !isSkipped(entry.name))
      .map(({ name }) => name);
  } catch {
    return null;
  }
}
