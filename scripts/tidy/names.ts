import { type Rule, type SourceFile, type Violation, violation, walk } from "./source.ts";

const empty = /^(utils?|helpers?|managers?|services?|repositor(y|ies)|impls?|data|infos?|misc|commons?|shared)$/;

/** Rule 6: names that say what a thing is; nothing left for later. */
export const names: Rule = (tree) =>
  tree.sources.flatMap((source) => [...path(source), ...declarations(source), ...later(source)]);

function path(source: SourceFile): Violation[] {
  return emptyWords(source.path.replace(/\.tsx?$/, "")).map((word) =>
    violation(source, { start: 0 }, "names", `file name with "${word}"`),
  );
}

function declarations(source: SourceFile): Violation[] {
  const found: Violation[] = [];
  walk(source.program, (node) => {
    if (!/^(TSInterfaceDeclaration|TSTypeAliasDeclaration|ClassDeclaration)$/.test(node.type)) return;
    if (!("id" in node) || node.id === null || node.id.type !== "Identifier") return;
    for (const word of emptyWords(node.id.name))
      found.push(violation(source, node, "names", `type ${node.id.name} with "${word}"`));
  });
  return found;
}

function emptyWords(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])|([A-Z])(?=[A-Z][a-z])/g, "$1$3 $2")
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.toLowerCase())
    .filter((word) => empty.test(word));
}

function later(source: SourceFile): Violation[] {
  return source.comments
    .filter((comment) => /\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b/.test(comment.value))
    .map((comment) => violation(source, comment, "names", "left for later"));
}
