import type { Node } from "oxc-parser";
import { exportsOf } from "./exports.ts";
import { type Rule, type SourceFile, type Tree, type Violation, violation, walk } from "./source.ts";

const dialect = /^packages\/server\/src\/storage\/[^/]+\//;

/** The beginnings of SQL statements. Prose that begins with such a word does not match. */
const beginnings = [
  /select\s.+\sfrom\s/,
  /insert\s+(or\s+\w+\s+)?into\s/,
  /update\s+\w+\s+set\s/,
  /delete\s+from\s/,
  /create\s+(unique\s+)?(table|index)\s/,
  /(alter|drop)\s+table\s/,
  /with\s.+\sas\s+(materialized\s+)?\(/,
  /pragma\s+\w+/,
  /begin\s+immediate/,
];

const statement = new RegExp(`^\\s*(${beginnings.map((beginning) => beginning.source).join("|")})`, "is");

/** The drivers, and the only folder that may import each of them. */
const drivers: Readonly<Record<string, RegExp>> = {
  pg: /^packages\/server\/src\/storage\/postgres\//,
  "pg-native": /^packages\/server\/src\/storage\/postgres\//,
  "node:sqlite": /^packages\/server\/src\/storage\/sqlite\//,
  "@photostructure/sqlite": /^packages\/server\/src\/storage\/sqlite\//,
  ioredis: /^packages\/redis\/src\//,
};

/** Rule 3: SQL and drivers are only in their folders, and both dialects have the same statements. */
export const places: Rule = (tree) => [
  ...tree.sources.filter((source) => source.package !== null).flatMap((source) => [...sql(source), ...driver(source)]),
  ...dialects(tree),
];

function sql(source: SourceFile): Violation[] {
  if (dialect.test(source.path)) return [];
  const found: Violation[] = [];
  walk(source.program, (node) => {
    if (statement.test(textOf(node))) found.push(violation(source, node, "places", "SQL outside of storage/<dialect>"));
  });
  return found;
}

function textOf(node: Node): string {
  if (node.type === "Literal") return typeof node.value === "string" ? node.value : "";
  if (node.type === "TemplateLiteral") return node.quasis.map((quasi) => quasi.value.raw).join(" ? ");
  return "";
}

function driver(source: SourceFile): Violation[] {
  return source.imports
    .filter((used) => drivers[used.specifier]?.test(source.path) === false)
    .map((used) => violation(source, used, "places", `imports ${used.specifier} outside of its folder`));
}

/** Files of statements that exist in both dialects must export the same names in the same order. */
function dialects(tree: Tree): Violation[] {
  const statements = tree.sources.filter(
    (source) => dialect.test(source.path) && /\/(sql|statements)\.ts$/.test(source.path),
  );
  const first = statements[0];
  if (first === undefined) return [];
  const names = namesOf(first);
  return statements
    .slice(1)
    .filter((other) => namesOf(other) !== names)
    .map((other) => violation(other, { start: 0 }, "places", `exports other statements than ${first.path}: ${names}`));
}

function namesOf(source: SourceFile): string {
  return exportsOf(source)
    .flatMap((exported) => (exported.kind === "own" ? [exported.name] : []))
    .join(", ");
}
