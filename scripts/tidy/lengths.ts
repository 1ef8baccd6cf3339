import type { Node } from "oxc-parser";
import { childrenOf, type Rule, type SourceFile, type Violation, violation, walk } from "./source.ts";

const limits = { file: 400, test: 800, function: 70, line: 120 } as const;

/** What a test file is made of: each counts for itself, not for the function around it, as a declared function does. */
const blocks = /^(describe|it|test|suite|before(All|Each)|after(All|Each)|bench)$/;

/** Rule 4: files, functions and lines that fit. */
export const lengths: Rule = (tree) => tree.sources.flatMap((source) => [...whole(source), ...functions(source)]);

function whole(source: SourceFile): Violation[] {
  const lines = source.text.replace(/\n$/, "").split("\n");
  const limit = source.test ? limits.test : limits.file;
  const long = lines.flatMap((line, index) =>
    line.length <= limits.line
      ? []
      : [{ path: source.path, line: index + 1, rule: "lengths", message: `line of ${line.length} columns` }],
  );
  if (lines.length <= limit) return long;
  return [violation(source, { start: 0 }, "lengths", `file of ${lines.length} lines: a missing noun`), ...long];
}

function functions(source: SourceFile): Violation[] {
  const found: Violation[] = [];
  walk(source.program, (node, parents) => {
    if (!isFunction(node) || (parents[0] !== undefined && isBlock(parents[0], /^(describe|suite)$/))) return;
    const length = lines(source, node) - partsOf(source, node);
    if (length > limits.function) found.push(violation(source, node, "lengths", `function of ${length} lines`));
  });
  return found;
}

function isFunction(node: Node): boolean {
  return /^(ArrowFunctionExpression|FunctionExpression|FunctionDeclaration)$/.test(node.type);
}

function lines(source: SourceFile, node: Node): number {
  return source.lineAt(node.end) - source.lineAt(node.start) + 1;
}

/** Lines of what counts for itself: functions declared by name, like the methods of a class, and test blocks. */
function partsOf(source: SourceFile, node: Node): number {
  return childrenOf(node)
    .map((child) => (isPart(child) ? lines(source, child) : partsOf(source, child)))
    .reduce((sum, length) => sum + length, 0);
}

function isPart(node: Node): boolean {
  if (node.type === "VariableDeclarator") return node.init !== null && isFunction(node.init);
  return node.type === "FunctionDeclaration" || isBlock(node, blocks);
}

/** `describe(…)`, `it.each(…)(…)` and the like. */
function isBlock(node: Node, names: RegExp): boolean {
  if (node.type !== "CallExpression") return false;
  let callee: Node = node.callee;
  while (callee.type === "MemberExpression" || callee.type === "CallExpression")
    callee = callee.type === "MemberExpression" ? callee.object : callee.callee;
  return callee.type === "Identifier" && names.test(callee.name);
}
