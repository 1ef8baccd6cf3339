import type { Node } from "oxc-parser";
import { type Rule, type SourceFile, type Tree, type Violation, violation, walk } from "./source.ts";

interface Declared {
  name: string;
  node: Node;
  source: SourceFile;
}

const empty = /^(utils?|helpers?|managers?|services?|repositor(y|ies)|impls?|data|infos?|misc|commons?|shared)$/;

/** Rule 6: no empty words in names, no type name twice, and no comment that leaves work for later. */
export const names: Rule = (tree) => [
  ...tree.sources.flatMap((source) => [...path(source), ...declarations(source), ...later(source)]),
  ...repeated(tree),
];

function path(source: SourceFile): Violation[] {
  return emptyWords(source.path.replace(/\.tsx?$/, "")).map((word) =>
    violation(source, { start: 0 }, "names", `file name with "${word}"`),
  );
}

function declarations(source: SourceFile): Violation[] {
  const found: Violation[] = [];
  walk(source.program, (node) => {
    const name = typeNameOf(node);
    if (name === null) return;
    for (const word of emptyWords(name)) found.push(violation(source, node, "names", `type ${name} with "${word}"`));
  });
  return found;
}

/** The name of the type that a node declares, or null. */
function typeNameOf(node: Node): string | null {
  if (!/^(TSInterfaceDeclaration|TSTypeAliasDeclaration|ClassDeclaration)$/.test(node.type)) return null;
  return "id" in node && node.id !== null && node.id.type === "Identifier" ? node.id.name : null;
}

/** Types with the name of a type of another module. Types inside of functions are not checked. */
function repeated({ sources }: Tree): Violation[] {
  const declared = new Map<string, Declared[]>();
  for (const source of sources) {
    for (const statement of source.program.body) {
      const node = "declaration" in statement && statement.declaration !== null ? statement.declaration : statement;
      const name = typeNameOf(node);
      if (name !== null) declared.set(name, [...(declared.get(name) ?? []), { name, node, source }]);
    }
  }
  const alike = [...declared.values()].flatMap(([first, ...others]) =>
    first === undefined ? [] : others.map((other) => ({ first, other })),
  );
  return alike.map(({ first, other }) =>
    violation(other.source, other.node, "names", `type ${first.name} is declared in ${first.source.path} too`),
  );
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
    .map((comment) => violation(source, comment, "names", "a task that is left for later"));
}
