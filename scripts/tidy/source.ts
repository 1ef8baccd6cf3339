import { type Comment, type Node, type Program, parseSync } from "oxc-parser";

/** One violation of a rule at a line. */
export interface Violation {
  path: string;
  line: number;
  rule: string;
  message: string;
}

/** One module that a file imports: static or dynamic import, re-export or `import("…")` type. */
export interface Import {
  specifier: string;
  start: number;
}

/** One parsed file. Paths are relative to the root, with forward slashes. */
export interface SourceFile {
  path: string;
  text: string;
  program: Program;
  comments: Comment[];
  imports: Import[];
  /** Whether the file is a test or used only by tests. */
  test: boolean;
  /** The folder under `packages/`, or null outside of it. */
  package: string | null;
  /** The line, from 1, of an offset. */
  lineAt(offset: number): number;
}

/** The input of the rules. */
export interface Tree {
  sources: SourceFile[];
  /** Files that are read but not parsed, by path, such as `packages/lib/package.json`. */
  texts: ReadonlyMap<string, string>;
}

export type Rule = (tree: Tree) => Violation[];

export function parse(path: string, text: string): { source: SourceFile; errors: Violation[] } {
  const parsed = parseSync(path, text);
  const lineAt = lines(text);
  const source: SourceFile = {
    path,
    text,
    program: parsed.program,
    comments: parsed.comments,
    imports: importsOf(parsed.program),
    test: /\.(test|suite)\.tsx?$/.test(path) || /^(testing|tests|bench|examples|packages\/[^/]+\/test)\//.test(path),
    package: /^packages\/([^/]+)\//.exec(path)?.[1] ?? null,
    lineAt,
  };
  const errors = parsed.errors.map((error) => ({
    path,
    line: lineAt(error.labels[0]?.start ?? 0),
    rule: "syntax",
    message: error.message,
  }));
  return { source, errors };
}

function lines(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}

function importsOf(program: Program): Import[] {
  const found: Import[] = [];
  const add = (source: { value?: unknown; start: number } | null): void => {
    if (source !== null && typeof source.value === "string")
      found.push({ specifier: source.value, start: source.start });
  };
  walk(program, (node) => {
    switch (node.type) {
      case "ImportDeclaration":
      case "ExportAllDeclaration":
      case "ExportNamedDeclaration":
      case "TSImportType":
        add(node.source);
        break;
      case "ImportExpression":
        if (node.source.type === "Literal") add(node.source);
        break;
      default:
    }
  });
  return found;
}

/** Visits every node, parents first; `parents` begins with the nearest. */
export function walk(
  node: Node,
  visit: (node: Node, parents: readonly Node[]) => void,
  parents: readonly Node[] = [],
): void {
  visit(node, parents);
  const below = [node, ...parents];
  for (const child of childrenOf(node)) walk(child, visit, below);
}

export function childrenOf(node: Node): Node[] {
  return Object.values(node)
    .flat()
    .filter((value) => isNode(value));
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

export function violation(source: SourceFile, at: { start: number }, rule: string, message: string): Violation {
  return { path: source.path, line: source.lineAt(at.start), rule, message };
}
