/**
 * The lines of the source that mutants change. A comment `// mutant: name` marks the line that it ends, or the next
 * line if it has a line of its own. So a mutant still finds its line after the code around it has changed or moved.
 */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Mutant } from "./list.ts";

export interface Marked {
  marker: string;
  /** The marked line, without the marker. */
  line: string;
  path: string;
  /** The number of the marked line, from 0. */
  at: number;
}

/** Every marked line below `packages/<name>/src` of a checkout, in the order of paths. */
export async function findMarked(root: string): Promise<Marked[]> {
  const found: Marked[] = [];
  for (const name of (await readdir(join(root, "packages"))).sort()) {
    const folder = join(root, "packages", name, "src");
    const files = await readdir(folder, { recursive: true }).catch(() => []);
    for (const file of files.filter((path) => path.endsWith(".ts")).sort()) {
      const path = join(folder, file);
      found.push(...markedIn(path, await readFile(path, "utf8")));
    }
  }
  return found;
}

export function markedIn(path: string, text: string): Marked[] {
  const lines = text.split("\n");
  return lines.flatMap((line, index) => {
    const [comment, marker] = /\/\/ mutant: (\S+)$/.exec(line) ?? [];
    if (comment === undefined || marker === undefined) return [];
    const before = line.slice(0, -comment.length);
    return before.trim() === ""
      ? [{ marker, line: lines[index + 1] ?? "", path, at: index + 1 }]
      : [{ marker, line: before, path, at: index }];
  });
}

/** The changed line of a mutant. Throws if its line does not exist or would not change. */
export function mutated(mutant: Mutant, marked: readonly Marked[]): Marked {
  const places = marked.filter(({ marker }) => marker === mutant.marker);
  const [place] = places;
  if (place === undefined || places.length > 1) {
    throw new Error(`"${mutant.name}": ${places.length} lines are marked "// mutant: ${mutant.marker}"; mark one.`);
  }
  const times = place.line.split(mutant.from).length - 1;
  if (times !== 1 || mutant.from === mutant.to) {
    const cause = times === 1 ? "the mutant replaces it by itself" : `the line contains it ${times} times`;
    throw new Error(`"${mutant.name}" replaces "${mutant.from}" in "${place.line.trim()}", but ${cause}.`);
  }
  return { ...place, line: place.line.replace(mutant.from, () => mutant.to) };
}
