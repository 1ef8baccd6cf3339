import { posix } from "node:path";
import { z } from "zod";
import { exportsOf } from "./exports.ts";
import { type Rule, type Source, type Tree, type Violation, violation } from "./source.ts";

const manifest = z.object({
  private: z.boolean().optional(),
  exports: z.record(z.string(), z.record(z.string(), z.string())).optional(),
});

/** Rule 7: every symbol that a published package exports says what it is. */
export const docs: Rule = (tree) => {
  const sources = new Map(tree.sources.map((source) => [source.path, source]));
  const seen = new Set<string>();
  return entries(tree).flatMap((path) => undocumented(path, null, sources, seen));
};

/** The source entry points of all published packages. */
function entries(tree: Tree): string[] {
  return [...tree.texts]
    .filter(([path]) => /^packages\/[^/]+\/package\.json$/.test(path))
    .flatMap(([path, text]) => {
      const parsed = manifest.parse(JSON.parse(text));
      if (parsed.private === true) return [];
      return Object.values(parsed.exports ?? {})
        .map((conditions) => conditions["@aikirun/source"])
        .filter((entry) => entry !== undefined)
        .map((entry) => posix.join(posix.dirname(path), entry));
    });
}

/** Follows re-exports to where symbols are declared; `only` is the one name asked for, or null for all. */
function undocumented(
  path: string,
  only: string | null,
  sources: ReadonlyMap<string, Source>,
  seen: Set<string>,
): Violation[] {
  const source = sources.get(path);
  if (source === undefined || seen.has(`${path} ${only}`)) return [];
  seen.add(`${path} ${only}`);
  const follow = (specifier: string, name: string | null): Violation[] =>
    specifier.startsWith(".") ? undocumented(posix.join(posix.dirname(path), specifier), name, sources, seen) : [];
  return exportsOf(source).flatMap((exported) => {
    switch (exported.kind) {
      case "all":
        return follow(exported.specifier, only);
      case "from":
        return only === null || only === exported.exported ? follow(exported.specifier, exported.name) : [];
      case "own":
        if ((only !== null && only !== exported.name) || seen.has(`${path}#${exported.name}`)) return [];
        seen.add(`${path}#${exported.name}`);
        return isDocumented(source, exported.start)
          ? []
          : [violation(source, exported, "docs", `${exported.name} has no doc sentence`)];
      default:
        return exported satisfies never;
    }
  });
}

function isDocumented(source: Source, start: number): boolean {
  return source.comments.some(
    (comment) =>
      comment.type === "Block" &&
      /^\*[\s\S]*\w+\s+\w+/.test(comment.value) &&
      comment.end <= start &&
      /^\s*$/.test(source.text.slice(comment.end, start)),
  );
}
