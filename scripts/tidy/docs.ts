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
 * Rule 7: every symbol that a published package exports says what it is. Every member of an interface or a class does
 * too, unless only `./internal` exports it, and what users may leave out says its default. The function that has
 * the name of its package shows an example.
 */
export const docs: Rule = (tree) => {
  const sources = new Map(tree.sources.map((source) => [source.path, source]));
  const seen = new Set<string>();
  return entries(tree)
    .sort((one, other) => strictness(other.name) - strictness(one.name))
    .flatMap((entry) => undocumented(entry, sources, seen));
};

/** What several entry points export is held against the strictest. */
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

/** What is asked of a file: the symbol `only`, or all of them when it is null. `name` is that of the entry point. */
interface DocQuestion {
  path: string;
  only: string | null;
  name: string;
}

/** Follows re-exports to where symbols are declared. */
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

/** Members of an interface or a class that do not say what they are or, `withDefaults`, what their default is. */
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

/** The doc comment before an offset, if it says something. */
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
