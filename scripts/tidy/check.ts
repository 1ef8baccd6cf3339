import { arrows } from "./arrows.ts";
import { docs } from "./docs.ts";
import { lengths } from "./lengths.ts";
import { names } from "./names.ts";
import { places } from "./places.ts";
import { purity } from "./purity.ts";
import { parse, type Rule, type Violation } from "./source.ts";
import { types } from "./types.ts";

const rules: readonly Rule[] = [arrows, purity, places, lengths, types, names, docs];

/** Checks a tree, given as texts by path, against the rules. */
export function check(files: ReadonlyMap<string, string>): Violation[] {
  const parsed = [...files].filter(([path]) => /\.tsx?$/.test(path)).map(([path, text]) => parse(path, text));
  const tree = { sources: parsed.map((one) => one.source), texts: files };
  return [...parsed.flatMap((one) => one.errors), ...rules.flatMap((rule) => rule(tree))].sort((a, b) =>
    a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1,
  );
}
