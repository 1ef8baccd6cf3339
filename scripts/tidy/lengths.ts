import type { Node } from "oxc-parser";
import { childrenOf, type Rule, type SourceFile, type Tree, type Violation, violation, walk } from "./source.ts";

const limits = { file: 400, test: 800, function: 70, line: 120 } as const;

/**
 * Files with functions that are too long, counted with the functions inside of them. Entries may only be removed: split
 * a function instead of adding one. An entry that is no longer needed is a violation.
 */
const containsLong: ReadonlySet<string> = new Set([
  "packages/server/src/engine/engine.ts",
  "packages/worker/src/subscribers/redis-streams.ts",
]);

/** The blocks of a test file. Each is measured separately, not as part of the function around it. */
const blocks = /^(describe|it|test|suite|before(All|Each)|after(All|Each)|bench)$/;

/** Rule 4: the maximum length of files, functions and lines. */
export const lengths: Rule = (tree) => [
  ...tree.sources.flatMap((source) => [...whole(source), ...functions(source)]),
  ...unneeded(tree),
];

function whole(source: SourceFile): Violation[] {
  const lines = source.text.replace(/\n$/, "").split("\n");
  const limit = source.test ? limits.test : limits.file;
  const long = lines.flatMap((line, index) =>
    line.length <= limits.line
      ? []
      : [{ path: source.path, line: index + 1, rule: "lengths", message: `line of ${line.length} columns` }],
  );
  if (lines.length <= limit) return long;
  return [violation(source, { start: 0 }, "lengths", `file of ${lines.length} lines: split it`), ...long];
}

function functions(source: SourceFile): Violation[] {
  const parts = containsLong.has(source.path) ? isNamedFunctionOrBlock : isTestBlock;
  return longFunctions(source, parts).map(({ node, length }) =>
    violation(source, node, "lengths", `function of ${length} lines, with all that it contains`),
  );
}

function longFunctions(source: SourceFile, isPart: (node: Node) => boolean): Array<{ node: Node; length: number }> {
  const found: Array<{ node: Node; length: number }> = [];
  walk(source.program, (node, parents) => {
    if (!isFunction(node) || (parents[0] !== undefined && isBlock(parents[0], /^(describe|suite)$/))) return;
    const length = lines(source, node) - partsOf(source, node, isPart);
    if (length > limits.function) found.push({ node, length });
  });
  return found;
}

function unneeded({ sources }: Tree): Violation[] {
  const list = sources.find((source) => source.path === "scripts/tidy/lengths.ts");
  if (list === undefined) return [];
  const needed = sources.filter(
    (source) => containsLong.has(source.path) && longFunctions(source, isTestBlock).length > 0,
  );
  return [...containsLong]
    .filter((path) => !needed.some((source) => source.path === path))
    .map((path) =>
      violation(list, { start: 0 }, "lengths", `${path} has no function that is too long: remove the entry`),
    );
}

function isFunction(node: Node): boolean {
  return /^(ArrowFunctionExpression|FunctionExpression|FunctionDeclaration)$/.test(node.type);
}

function lines(source: SourceFile, node: Node): number {
  return source.lineAt(node.end) - source.lineAt(node.start) + 1;
}

/** The lines of nodes that are measured separately. */
function partsOf(source: SourceFile, node: Node, isPart: (node: Node) => boolean): number {
  return childrenOf(node)
    .map((child) => (isPart(child) ? lines(source, child) : partsOf(source, child, isPart)))
    .reduce((sum, length) => sum + length, 0);
}

function isTestBlock(node: Node): boolean {
  return isBlock(node, blocks);
}

function isNamedFunctionOrBlock(node: Node): boolean {
  if (node.type === "VariableDeclarator") return node.init !== null && isFunction(node.init);
  return node.type === "FunctionDeclaration" || isTestBlock(node);
}

/** `describe(…)`, `it.each(…)(…)` and the like. */
function isBlock(node: Node, names: RegExp): boolean {
  if (node.type !== "CallExpression") return false;
  let callee: Node = node.callee;
  while (callee.type === "MemberExpression" || callee.type === "CallExpression")
    callee = callee.type === "MemberExpression" ? callee.object : callee.callee;
  return callee.type === "Identifier" && names.test(callee.name);
}
