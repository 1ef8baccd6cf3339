import type { Node } from "oxc-parser";
import type { SourceFile } from "./source.ts";

/** The exports of a file, in source order. */
export type Exported =
  | { kind: "own"; name: string; start: number }
  /** `export { name as exported } from "…"`. */
  | { kind: "from"; name: string; exported: string; specifier: string }
  | { kind: "all"; specifier: string };

export function exportsOf(source: SourceFile): Exported[] {
  return source.program.body.flatMap((statement): Exported[] => {
    switch (statement.type) {
      case "ExportAllDeclaration":
        return [{ kind: "all", specifier: statement.source.value }];
      case "ExportDefaultDeclaration":
        return [{ kind: "own", name: "default", start: statement.start }];
      case "ExportNamedDeclaration":
        if (statement.declaration !== null)
          return namesOf(statement.declaration).map((name) => ({ kind: "own", name, start: statement.start }));
        return statement.specifiers.map((specifier) => {
          const name = nameOf(specifier.local);
          if (statement.source !== null)
            return { kind: "from", name, exported: nameOf(specifier.exported), specifier: statement.source.value };
          return declared(source, name) ?? { kind: "own", name, start: statement.start };
        });
      default:
        return [];
    }
  });
}

/** The origin of a name that is exported apart from its declaration: an import, or a statement of the file. */
function declared(source: SourceFile, name: string): Exported | null {
  for (const statement of source.program.body) {
    if (statement.type === "ImportDeclaration") {
      for (const specifier of statement.specifiers)
        if (specifier.type === "ImportSpecifier" && specifier.local.name === name)
          return {
            kind: "from",
            name: nameOf(specifier.imported),
            exported: name,
            specifier: statement.source.value,
          };
    } else if (namesOf(statement).includes(name)) return { kind: "own", name, start: statement.start };
  }
  return null;
}

function namesOf(declaration: Node): string[] {
  switch (declaration.type) {
    case "VariableDeclaration":
      return declaration.declarations.flatMap(({ id }) => (id.type === "Identifier" ? [id.name] : []));
    case "FunctionDeclaration":
    case "TSDeclareFunction":
    case "ClassDeclaration":
      return declaration.id === null ? [] : [declaration.id.name];
    case "TSInterfaceDeclaration":
    case "TSTypeAliasDeclaration":
      return [declaration.id.name];
    default:
      return [];
  }
}

function nameOf(node: Node): string {
  if (node.type === "Identifier") return node.name;
  return node.type === "Literal" ? String(node.value) : "";
}
