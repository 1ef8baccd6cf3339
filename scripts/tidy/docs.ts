import { posix } from "node:path";
import type { Node } from "oxc-parser";
import { z } from "zod";
import { exportsOf } from "./exports.ts";
import { childrenOf, type Rule, type SourceFile, type Tree, type Violation, violation } from "./source.ts";

const manifest = z.object({
  private: z.boolean().optional(),
  exports: z.record(z.string(), z.record(z.string(), z.string())).optional(),
});

/**
 * Rule 7: every symbol that a published package exports has a doc sentence. So has every member of an interface or a
 * class, unless only `./internal` exports it, and the doc of an optional member names its default. The function with
 * the name of its package has an example.
 */
export const docs: Rule = (tree) => {
  const sources = new Map(tree.sources.map((source) => [source.path, source]));
  const seen = new Set<string>();
  return entries(tree)
    .sort((one, other) => strictness(other.name) - strictness(one.name))
    .flatMap((entry) => undocumented(entry, sources, seen));
};

/** How strict the rules of an entry point are. A symbol of several entry points must satisfy the strictest. */
function strictness(entry: string): number {
  return entry === "." ? 2 : entry === "./internal" ? 0 : 1;
}

/** The source entry points of all published packages. */
function entries(tree: Tree): DocQuestion[] {
  return [...tree.texts]
    .filter(([path]) => /^packages\/[^/]+\/package\.json$/.test(path))
    .flatMap(([path, text]) => {
      const parsed = manifest.parse(JSON.parse(text));
      if (parsed.private === true) return [];
      return Object.entries(parsed.exports ?? {}).flatMap(([name, conditions]) => {
        const entry = conditions["@aikirun/source"];
        return entry === undefined ? [] : [{ path: posix.join(posix.dirname(path), entry), only: null, name }];
      });
    });
}

/** Which symbols of a file to check: `only`, or all if it is null. `name` is the name of the entry point. */
interface DocQuestion {
  path: string;
  only: string | null;
  name: string;
}

/** Follows re-exports to the declarations of symbols. */
function undocumented(question: DocQuestion, sources: ReadonlyMap<string, SourceFile>, seen: Set<string>): Violation[] {
  const { path, only, name } = question;
  const source = sources.get(path);
  if (source === undefined || seen.has(`${path} ${only}`)) return [];
  seen.add(`${path} ${only}`);
  const follow = (specifier: string, symbol: string | null): Violation[] =>
    specifier.startsWith(".")
      ? undocumented({ path: posix.join(posix.dirname(path), specifier), only: symbol, name }, sources, seen)
      : [];
  return exportsOf(source).flatMap((exported) => {
    switch (exported.kind) {
      case "all":
        return follow(exported.specifier, only);
      case "from":
        return only === null || only === exported.exported ? follow(exported.specifier, exported.name) : [];
      case "own":
        if ((only !== null && only !== exported.name) || seen.has(`${path}#${exported.name}`)) return [];
        seen.add(`${path}#${exported.name}`);
        return [
          ...symbol(source, exported),
          ...(name === "./internal" ? [] : members(source, exported.name, name === ".")),
        ];
      default:
        return exported satisfies never;
    }
  });
}

function symbol(source: SourceFile, { name, start }: { name: string; start: number }): Violation[] {
  const doc = docOf(source, start);
  if (doc === null) return [violation(source, { start }, "docs", `${name} has no doc sentence`)];
  const lacksExample = name === source.package && !doc.includes("@example");
  return lacksExample ? [violation(source, { start }, "docs", `${name} has no @example`)] : [];
}

/** Members of an interface or a class without a doc sentence or, `withDefaults`, without a default. */
function members(source: SourceFile, name: string, withDefaults: boolean): Violation[] {
  return source.program.body
    .map((statement) => (statement.type === "ExportNamedDeclaration" ? statement.declaration : statement))
    .flatMap((declaration) => (declaration === null ? [] : membersOf(declaration, name)))
    .flatMap((member) => {
      const called = `${name}.${nameOf(source, member)}`;
      const doc = docOf(source, member.start);
      if (doc === null) return [violation(source, member, "docs", `${called} has no doc sentence`)];
      const isOptional = member.type === "TSPropertySignature" && member.optional;
      return withDefaults && isOptional && !/\b(default|absent)\b/i.test(doc)
        ? [violation(source, member, "docs", `${called} does not say its default`)]
        : [];
    });
}

function membersOf(declaration: Node, name: string): Node[] {
  if (declaration.type !== "TSInterfaceDeclaration" && declaration.type !== "ClassDeclaration") return [];
  return declaration.id?.name === name ? childrenOf(declaration.body).filter(isPublic) : [];
}

function isPublic(member: Node): boolean {
  switch (member.type) {
    case "TSPropertySignature":
    case "TSMethodSignature":
      return true;
    case "PropertyDefinition":
      return member.key.type !== "PrivateIdentifier" && member.accessibility !== "private";
    case "MethodDefinition":
      return member.key.type !== "PrivateIdentifier" && member.kind !== "constructor";
    default:
      return false;
  }
}

function nameOf(source: SourceFile, member: Node): string {
  return "key" in member && isNode(member.key) ? source.text.slice(member.key.start, member.key.end) : "?";
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "start" in value && "end" in value;
}

/** The doc comment before an offset, or null if it is missing or empty. */
function docOf(source: SourceFile, start: number): string | null {
  const comment = source.comments.find(
    (one) =>
      one.type === "Block" &&
      /^\*[\s\S]*\w+\s+\w+/.test(one.value) &&
      one.end <= start &&
      /^\s*$/.test(source.text.slice(one.end, start)),
  );
  return comment?.value ?? null;
}
