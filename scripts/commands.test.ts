/** Documents, the image and the manifests use only existing commands, options and variables. */

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { expect, it } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { createProgram } from "../packages/cli/src/program.ts";

const root = resolve(import.meta.dirname, "..");
const program = createProgram(recordedTerminal().terminal);

const packages = readdirSync(join(root, "packages")).map((name) => `packages/${name}`);
const documents = [".", "docs", "bench", ...packages].flatMap((folder) => textsIn(folder, ".md"));
const deployed = [
  ...textsIn(".", "Dockerfile"),
  ...textsIn(".", "docker-compose.yml"),
  ...textsIn("deploy/kubernetes", ".yaml"),
  ...textsIn(".github/workflows", ".yml"),
].map(({ path, text }) => ({ path, text: text.replaceAll(/^\s*# .*$/gm, "") }));
const sources = textsIn("packages/cli/src", ".ts").filter(({ path }) => !path.endsWith(".test.ts"));
const read = new Set(sources.flatMap(({ text }) => variablesIn(text)));

it("the documents, the image and the manifests call commands of aiki that exist, with options that these have", () => {
  expect(mistakesIn((text) => calls(text).flatMap(mistakesOf))).toEqual([]);
});

it("the documents call scripts of npm that exist", () => {
  expect(mistakesIn((text) => scripts(text).filter((name) => !(name in manifest.scripts)))).toEqual([]);
});

it("the documents, the image and the manifests name only variables that the CLI reads", () => {
  expect(mistakesIn((text) => variablesIn(text).filter((name) => !read.has(name)))).toEqual([]);
});

it("docs/production.md names every variable that the CLI reads", () => {
  const named = documents.filter(({ path }) => path === "docs/production.md").flatMap(({ text }) => variablesIn(text));
  expect([...read].filter((name) => !named.includes(name))).toEqual([]);
});

it.each([
  ["that does not exist", "Run `aiki migrat`.", "no command aiki migrat"],
  ["that does not exist in its group", "aiki runs lst --json", "no command aiki runs lst"],
  ["with an option that it does not have", "npx aiki server --prot 1", "aiki server has no option --prot"],
  ["as a list of words, with an unknown option", "    args: [migrate, --all]", "aiki migrate has no option --all"],
  ["of a container that does not exist", "docker compose run --rm migrate keys lst", "no command aiki keys lst"],
])("the check refuses a command %s", (_, text, mistake) => {
  expect(calls(text).flatMap(mistakesOf)).toEqual([mistake]);
});

function mistakesIn(find: (text: string) => readonly string[]): string[] {
  return [...documents, ...deployed].flatMap(({ path, text }) => find(text).map((mistake) => `${path}: ${mistake}`));
}

/** The arguments of `aiki` in shell commands, of containers that run it, and in lists of YAML or a Dockerfile. */
function calls(text: string): string[][] {
  const joined = text.replace(/\\\n\s*/g, " ");
  const shell = joined.matchAll(/(?:(?:^|[`\s])aiki|\baiki\.js|compose run (?:-\S+ )*\w+) ([a-z][^`|>\n]*)/gm);
  const lists = joined.matchAll(/^\s*(?:command:|args:|CMD) \[(?!node)([^\]]*)\]/gm);
  return [
    ...[...shell].map(([, words = ""]) => words.trim().split(/\s+/)),
    ...[...lists].map(([, words = ""]) => words.replaceAll('"', "").split(/,\s*/)),
  ];
}

function mistakesOf(words: readonly string[]): string[] {
  const [first = "", second = ""] = words;
  const group = program.commands.find((one) => one.name() === first);
  const isWhole = group?.commands.length === 0 || !/^[a-z]/.test(second);
  const command = isWhole ? group : group?.commands.find((one) => one.name() === second);
  if (command === undefined) return [`no command aiki ${group === undefined ? first : `${first} ${second}`}`];
  const options = words.filter((word) => word.startsWith("--")).map((word) => word.replace(/=.*/, ""));
  const known = ["--help", ...command.options.map(({ long }) => long)];
  return options.filter((one) => !known.includes(one)).map((one) => `aiki ${command.name()} has no option ${one}`);
}

function scripts(text: string): string[] {
  return [...text.matchAll(/\bnpm run ([\w:]+)/g)].map(([, name = ""]) => name);
}

function variablesIn(text: string): string[] {
  return text.match(/\bAIKI_[A-Z][A-Z0-9_]*\b/g) ?? [];
}

/** The files in a folder, and for sources also in its subfolders. Paths are relative to the root. */
function textsIn(folder: string, extension: string): Array<{ path: string; text: string }> {
  const names = readdirSync(join(root, folder), { recursive: folder.endsWith("/src"), encoding: "utf8" });
  const paths = names.filter((name) => name.endsWith(extension)).map((name) => join(folder, name));
  return paths.map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}
