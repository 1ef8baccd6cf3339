import type { Node } from "oxc-parser";
import { childrenOf, type Rule, type SourceFile, type Violation, violation, walk } from "./source.ts";

/** Rule 5: no construct that bypasses the type checker. */
export const types: Rule = (tree) => tree.sources.flatMap((source) => [...silencers(source), ...loopholes(source)]);

function silencers(source: SourceFile): Violation[] {
  return source.comments
    .filter((comment) => /^[\s*/]*@ts-(ignore|nocheck)/.test(comment.value) || (expects(comment.value) && !source.test))
    .map((comment) => violation(source, comment, "types", "silences the compiler"));
}

/** Permitted in a test, where it proves that a wrong call does not compile. */
function expects(comment: string): boolean {
  return /^[\s*/]*@ts-expect-error/.test(comment);
}

function loopholes(source: SourceFile): Violation[] {
  const found: Violation[] = [];
  walk(source.program, (node, parents) => {
    const message = loophole(node, parents);
    if (message !== null) found.push(violation(source, node, "types", message));
  });
  return found;
}

function loophole(node: Node, parents: readonly Node[]): string | null {
  switch (node.type) {
    case "TSAnyKeyword":
      return "any";
    case "TSNonNullExpression":
      return "non-null assertion";
    case "VariableDeclarator":
    case "PropertyDefinition":
      return node.definite === true ? "definite assignment assertion" : null;
    case "TSTypeAssertion":
      return "type assertion";
    case "TSAsExpression":
      return isConst(node.typeAnnotation) || isBrand(node, parents) ? null : "`as`: write a type guard";
    case "SwitchStatement":
      return openEnd(node);
    default:
      return null;
  }
}

function isConst(annotation: Node): boolean {
  return (
    annotation.type === "TSTypeReference" &&
    annotation.typeName.type === "Identifier" &&
    annotation.typeName.name === "const"
  );
}

/** A brand: the whole body of a named function is `return … as T`. */
function isBrand(node: Node, parents: readonly Node[]): boolean {
  const chain = [node, ...parents];
  const end = chain.findIndex((link) => link.type !== "TSAsExpression");
  const [holder, block, owner, declarator] = chain.slice(end);
  if (holder?.type === "ArrowFunctionExpression") return block?.type === "VariableDeclarator";
  if (holder?.type !== "ReturnStatement" || block?.type !== "BlockStatement" || block.body.length !== 1) return false;
  return owner?.type === "FunctionDeclaration" || declarator?.type === "VariableDeclarator";
}

/** Exhaustive switches end in `satisfies never`; others have a default that does something. */
function openEnd(node: Extract<Node, { type: "SwitchStatement" }>): string | null {
  const last = node.cases.find((one) => one.test === null);
  if (last === undefined) return "switch without default: end it in `satisfies never`";
  const throwsOnly = last.consequent.every((statement) => statement.type === "ThrowStatement");
  if (last.consequent.length > 0 && throwsOnly && !mentionsNever(last))
    return "default that only throws: end it in `satisfies never`";
  return null;
}

function mentionsNever(node: Node): boolean {
  if (node.type === "TSSatisfiesExpression" && node.typeAnnotation.type === "TSNeverKeyword") return true;
  return childrenOf(node).some(mentionsNever);
}
