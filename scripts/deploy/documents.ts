/** Documents and the CLI name the same variables. */

import { variablesIn } from "./commands.ts";

/** `documents`: texts by path. */
export function documentComplaints(documents: ReadonlyMap<string, string>, known: ReadonlySet<string>): string[] {
  const named = new Map(
    [...documents].flatMap(([path, text]) => variablesIn(text).map((name) => [name, path] as const)),
  );
  const unknown = [...named].filter(([name]) => !known.has(name));
  const silent = [...known].filter((name) => !named.has(name));
  return [
    ...unknown.map(([name, path]) => `${path}: no command reads ${name}`),
    ...silent.map((name) => `${name} is read by a command, and no document says so`),
  ];
}

/** The keys of each Secret that a document makes: `kubectl create secret generic <name> --from-literal=<key>=…`. */
export function secretsIn(text: string): Map<string, Set<string>> {
  const commands = text
    .replaceAll(/\\\n\s*/g, " ")
    .matchAll(/create secret generic (\S+)((?:\s+--from-literal=\S+)+)/g);
  return new Map(
    [...commands].map(([, name = "", rest = ""]) => [
      name,
      new Set([...rest.matchAll(/--from-literal=([^=\s]+)/g)].map(([, key = ""]) => key)),
    ]),
  );
}
