/**
 * Compiles every TypeScript block of the documents, and of the doc comments of the packages (`@example`), against the
 * packages' sources, so that copied code works. Errors name the lines of the document.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { modulesOf } from "./docs-snippets/modules.ts";

const place = ".snippets";
const documents = [
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"],
  ...readdirSync("docs").map((name) => `docs/${name}`),
  ...readdirSync("packages").flatMap((name) => [`packages/${name}/README.md`, ...sourcesOf(`packages/${name}/src`)]),
].filter((path) => /\.(md|ts)$/.test(path) && existsSync(path));

rmSync(place, { recursive: true, force: true });
const written = new Map<string, string>();
let count = 0;
for (const path of documents) {
  const folder = path.replaceAll("/", "__");
  const text = readFileSync(path, "utf8");
  const modules = modulesOf(path.endsWith(".ts") ? examplesOf(text) : text);
  if (modules.size === 0) continue;
  count += modules.size;
  for (const [name, text] of modules) write(join(place, folder, name), text);
  written.set(folder, path);
}
write(join(place, "tsconfig.json"), JSON.stringify(configuration()));
const run = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", place, "--pretty", "false"], {
  encoding: "utf8",
});
for (const line of `${run.stdout}${run.stderr}`.split("\n").filter((text) => text !== "")) console.log(placed(line));
console.log(`docs: ${count} snippets in ${written.size} documents`);
rmSync(place, { recursive: true, force: true });
process.exitCode = run.status ?? 1;

function sourcesOf(place: string): string[] {
  return readdirSync(place, { recursive: true, encoding: "utf8" }).map((path) => join(place, path));
}

/** The doc comments of a source file as a document with the same line numbers. */
function examplesOf(source: string): string {
  return source.replaceAll(/^.*$/gm, (line) => /^ \* ?(.*)$/.exec(line)?.[1] ?? "");
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function configuration(): object {
  return {
    extends: "../tsconfig.test.json",
    compilerOptions: { incremental: false, tsBuildInfoFile: null },
    include: ["**/*.ts"],
  };
}

/** `.snippets/docs__replay.md/block-12.ts(14,3): …` is line 14 of docs/replay.md. */
function placed(line: string): string {
  return line.replace(/^\.snippets\/([^/]+)\/[^(]*\((\d+),\d+\): /, (whole, folder: string, at: string) => {
    const path = written.get(folder);
    return path === undefined ? whole : `${path}:${at} `;
  });
}
