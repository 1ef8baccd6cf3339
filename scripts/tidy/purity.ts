import type { Node } from "oxc-parser";
import { type Rule, type SourceFile, type Violation, violation, walk } from "./source.ts";

const pure = [/^packages\/server\/src\/core\//, /^packages\/workflow\/src\/replay\/journal[^/]*\.ts$/];

const globals = new Set([
  "Promise",
  "Date",
  "crypto",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "queueMicrotask",
  "process",
  "console",
  "performance",
  "globalThis",
  "fetch",
]);

/** Rule 2: the core and the journal depend only on their arguments. */
export const purity: Rule = (tree) =>
  tree.sources.filter((source) => !source.test && pure.some((place) => place.test(source.path))).flatMap(impurities);

function impurities(source: SourceFile): Violation[] {
  const found: Violation[] = source.imports
    .filter((used) => used.specifier.startsWith("node:"))
    .map((used) => violation(source, used, "purity", `imports ${used.specifier}`));
  walk(source.program, (node, parents) => {
    const what = impurity(node, parents[0]);
    if (what !== null) found.push(violation(source, node, "purity", `uses ${what}`));
  });
  return found;
}

function impurity(node: Node, parent: Node | undefined): string | null {
  switch (node.type) {
    case "AwaitExpression":
      return "await";
    case "ArrowFunctionExpression":
    case "FunctionExpression":
    case "FunctionDeclaration":
      return node.async ? "async" : null;
    case "MemberExpression":
      return node.object.type === "Identifier" &&
        node.object.name === "Math" &&
        node.property.type === "Identifier" &&
        node.property.name === "random"
        ? "Math.random"
        : null;
    case "Identifier":
      return globals.has(node.name) && !isLabel(node, parent) ? node.name : null;
    default:
      return null;
  }
}

/** Whether an identifier names a member or a key, not a variable in scope. */
function isLabel(node: Node, parent: Node | undefined): boolean {
  switch (parent?.type) {
    case "MemberExpression":
      return parent.property === node && !parent.computed;
    case "Property":
    case "PropertyDefinition":
    case "MethodDefinition":
    case "TSPropertySignature":
    case "TSMethodSignature":
      return parent.key === node && !parent.computed && !("shorthand" in parent && parent.shorthand);
    default:
      return false;
  }
}
