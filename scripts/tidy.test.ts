import { describe, expect, it } from "vitest";
import { check } from "./tidy/check.ts";

/** A tree with a violation, and the expected `path:line rule` with a part of the message. */
interface Planted {
  claim: string;
  files: Record<string, string>;
  says: Array<[place: string, message: string]>;
}

const core = "packages/server/src/core/decide.ts";
const journal = "packages/workflow/src/replay/journal.ts";
const plain = "packages/lib/src/a.ts";
const pkg = JSON.stringify({ exports: { ".": { "@aikirun/source": "./src/index.ts", default: "./dist/index.js" } } });
const times = (count: number, line: string): string => `${line}\n`.repeat(count);

const planted: Planted[] = [
  {
    claim: "an undeclared arrow between packages",
    files: { "packages/server/src/a.ts": 'import { task } from "@aikirun/task";\nexport const a = task;' },
    says: [["packages/server/src/a.ts:1 arrows", "server -> task"]],
  },
  {
    claim: "an arrow hidden in a dynamic import",
    files: { "packages/lib/src/a.ts": 'export const a = () => import("@aikirun/client");' },
    says: [["packages/lib/src/a.ts:1 arrows", "lib -> client"]],
  },
  {
    claim: "an arrow hidden in an import type",
    files: { "packages/lib/src/a.ts": 'export type A = import("@aikirun/server").Server;' },
    says: [["packages/lib/src/a.ts:1 arrows", "lib -> server"]],
  },
  {
    claim: "a package that names itself",
    files: { "packages/lib/src/a.ts": 'export { toMs } from "@aikirun/lib";' },
    says: [["packages/lib/src/a.ts:1 arrows", "its own package"]],
  },
  {
    claim: "an import of the package's own index",
    files: { "packages/lib/src/a.ts": 'export { b } from "./protocol/index.ts";' },
    says: [["packages/lib/src/a.ts:1 arrows", "name the file"]],
  },
  {
    claim: "a relative import that leaves the package",
    files: { "packages/task/src/a.ts": 'export { b } from "../../lib/src/b.ts";' },
    says: [["packages/task/src/a.ts:1 arrows", "leaves its package"]],
  },
  {
    claim: "an arrow that points up inside the server",
    files: { [core]: 'export { b } from "../storage/storage.ts";' },
    says: [[`${core}:1 arrows`, "server/core -> server/storage"]],
  },
  {
    claim: "a layer that imports the file that assembles the layers",
    files: { "packages/server/src/http/a.ts": 'export { b } from "../server.ts";' },
    says: [["packages/server/src/http/a.ts:1 arrows", "assembles the parts"]],
  },
  {
    claim: "an import cycle, reported once",
    files: {
      "packages/lib/src/a.ts": 'import { b } from "./b.ts";\nexport const a = b;',
      "packages/lib/src/b.ts": 'import { c } from "./c.ts";\nexport const b = c;',
      "packages/lib/src/c.ts": '\nimport type { a } from "./a.ts";\nexport type C = typeof a;',
    },
    says: [["packages/lib/src/a.ts:1 arrows", "a.ts -> packages/lib/src/b.ts -> packages/lib/src/c.ts"]],
  },
  ...[
    ["async", "export async function a(): void {}"],
    ["Promise", "export const a: Promise<void> | null = null;"],
    ["Date", "export const a = Date.now;"],
    ["Math.random", "export const a = Math.random();"],
    ["crypto", "export const a = crypto.subtle;"],
    ["setTimeout", "export const a = setTimeout;"],
    ["process", "export const a = process.env;"],
    ["console", "export const a = console;"],
    ["node:crypto", 'export { hash } from "node:crypto";'],
  ].flatMap(([what = "", text = ""]) =>
    [core, journal].map(
      (path): Planted => ({
        claim: `${what} in ${path}`,
        files: { [path]: text },
        says: [[`${path}:1 purity`, what]],
      }),
    ),
  ),
  {
    claim: "SQL outside of a dialect's folder",
    files: { "packages/server/src/storage/rows.ts": "export const a = `\n  UPDATE run SET a = 1`;" },
    says: [["packages/server/src/storage/rows.ts:1 places", "SQL"]],
  },
  {
    claim: "a driver outside of its folder",
    files: { "packages/server/src/engine/a.ts": 'export { Pool } from "pg";' },
    says: [["packages/server/src/engine/a.ts:1 places", "pg"]],
  },
  {
    claim: "ioredis outside of the package for Redis",
    files: { "packages/server/src/delivery/a.ts": 'export {} from "ioredis";' },
    says: [["packages/server/src/delivery/a.ts:1 places", "ioredis"]],
  },
  {
    claim: "dialects whose statements differ in order",
    files: {
      "packages/server/src/storage/postgres/sql.ts": 'export const a = "";\nexport const b = "";',
      "packages/server/src/storage/sqlite/sql.ts": 'export const b = "";\nexport const a = "";',
    },
    says: [["packages/server/src/storage/sqlite/sql.ts:1 places", "a, b"]],
  },
  {
    claim: "a file of 401 lines",
    files: { [plain]: times(401, "export {};") },
    says: [[`${plain}:1 lengths`, "file of 401"]],
  },
  {
    claim: "a test of 801 lines",
    files: { "packages/lib/src/a.test.ts": times(801, "export {};") },
    says: [["packages/lib/src/a.test.ts:1 lengths", "file of 801"]],
  },
  {
    claim: "a function of 71 lines",
    files: { [plain]: `export {};\nfunction a() {\n${times(69, "a();")}}\n` },
    says: [[`${plain}:2 lengths`, "function of 71"]],
  },
  {
    claim: "a function of 71 lines, of which most are functions inside of it",
    files: { [plain]: `export {};\nfunction a() {\n${times(23, "const b = () => {\nc();\n};")}}\n` },
    says: [[`${plain}:2 lengths`, "function of 71"]],
  },
  {
    claim: "a test block of 71 lines",
    files: { "tests/a.test.ts": `describe("a", () => {\nit("b", () => {\n${times(69, "a();")}});\n});` },
    says: [["tests/a.test.ts:2 lengths", "function of 71"]],
  },
  {
    claim: "a line of 121 columns",
    files: { [plain]: `export {};\n// ${"a".repeat(118)}` },
    says: [[`${plain}:2 lengths`, "121 columns"]],
  },
  ...[
    ["any", "export let a: any;"],
    ["non-null", "export const a = b!;"],
    ["definite", "export let a!: string;"],
    ["definite", "class A { b!: string }"],
    ["assertion", "export const a = <string>b;"],
    ["`as`", "export const a = b as string;"],
    ["`as`", "function a(b: unknown): string { b; return b as string; }"],
    ["`as`", "export const a = [1].map((b) => b as string);"],
    ["silences", "// @ts-ignore\nexport {};"],
    ["silences", "/* @ts-nocheck */"],
    ["silences", "// @ts-expect-error"],
    ["without default", "switch (a) { case 1: b(); }"],
    ["only throws", "switch (a) { default: throw new Error(a); }"],
  ].map(
    ([message = "", text = ""]): Planted => ({
      claim: text,
      files: { [plain]: text },
      says: [[`${plain}:1 types`, message]],
    }),
  ),
  {
    claim: "a file name that says nothing",
    files: { "packages/lib/src/string-utils.ts": "export {};" },
    says: [["packages/lib/src/string-utils.ts:1 names", "utils"]],
  },
  {
    claim: "a folder name that says nothing",
    files: { "packages/lib/src/shared/a.ts": "export {};" },
    says: [["packages/lib/src/shared/a.ts:1 names", "shared"]],
  },
  {
    claim: "a type name that says nothing",
    files: { [plain]: "export {};\ninterface RunManager { a: 1 }\nclass HTTPService {}" },
    says: [
      [`${plain}:2 names`, "manager"],
      [`${plain}:3 names`, "service"],
    ],
  },
  {
    claim: "a type name that two files declare",
    files: { "packages/lib/src/a.ts": "export interface Run {}", "tests/b.ts": "type Row = 1;\nexport class Run {}" },
    says: [["tests/b.ts:2 names", "type Run is declared in packages/lib/src/a.ts too"]],
  },
  {
    claim: "what is left for later",
    files: { [plain]: `export {};\n// ${"TO"}${"DO"}: b` },
    says: [[`${plain}:2 names`, "later"]],
  },
  {
    claim: "exports without a doc sentence, wherever they are declared",
    files: {
      "packages/lib/package.json": pkg,
      "packages/lib/src/index.ts": 'export * from "./a.ts";\nexport { b as bee } from "./b.ts";',
      "packages/lib/src/a.ts":
        "/** Says what it is. */\nexport const a = 1;\n// not a doc sentence\nexport type A = 1;",
      "packages/lib/src/b.ts": "const b = 1;\nconst c = 2;\nexport { b, c };",
    },
    says: [
      ["packages/lib/src/a.ts:4 docs", "A has"],
      ["packages/lib/src/b.ts:1 docs", "b has"],
    ],
  },
  {
    claim: "members of public types without a doc sentence or, where they may be left out, without a default",
    files: {
      "packages/lib/package.json": pkg,
      "packages/lib/src/index.ts": `/** Says what it is. */
export interface A {
  a: number;
  /** Says what it is. */
  b: number;
  /** Says what it is. */
  c?: number;
  /** Says what it is. Default 1. */
  d?: number;
}
/** Says what it is. */
export class B {
  #a = 1;
  constructor(a: number) { this.#a = a; }
  b(): number { return this.#a; }
}`,
    },
    says: [
      ["packages/lib/src/index.ts:3 docs", "A.a has no doc sentence"],
      ["packages/lib/src/index.ts:7 docs", "A.c does not say its default"],
      ["packages/lib/src/index.ts:15 docs", "B.b has no doc sentence"],
    ],
  },
  {
    claim: "the function of a package without an example",
    files: {
      "packages/lib/package.json": pkg,
      "packages/lib/src/index.ts": "/** Says what it does. */\nexport function lib(): void {}",
    },
    says: [["packages/lib/src/index.ts:2 docs", "lib has no @example"]],
  },
  {
    claim: "a file that does not parse",
    files: { [plain]: "export const = 1;" },
    says: [[`${plain}:1 syntax`, ""]],
  },
];

const allowed: Array<[claim: string, files: Record<string, string>]> = [
  ["declared arrows", { "packages/worker/src/a.ts": 'export { a } from "@aikirun/client";' }],
  ["any package in a test", { "packages/client/src/a.test.ts": 'export { server } from "@aikirun/server";' }],
  ["a package's face in its tests", { "packages/task/test/a.ts": 'export { task } from "@aikirun/task";' }],
  ["members called like globals", { [core]: "export const a = { process: 1, ok: run.Date };" }],
  ["prose that begins like SQL", { [plain]: 'export const a = "Update the worker, then set its id.";' }],
  ["SQL in its dialect", { "packages/server/src/storage/sqlite/sql.ts": 'export const a = "DELETE FROM run";' }],
  ["as const and brands", { [plain]: "const a = 1 as const; function b(c: string): B { return c as B; }" }],
  ["an arrow function that is a brand", { [plain]: "const b = (c: string): B => c as unknown as B;" }],
  ["proof that a call does not compile", { "tests/a.test.ts": "// @ts-expect-error wrong type\na();" }],
  ["a long describe", { "tests/a.test.ts": `describe("a", () => {\n${times(90, 'it("b", () => {});')}});` }],
  ["a class of many methods", { [plain]: `class A {\n${times(40, "b() {\n}")}}` }],
  ["a type inside of a function", { [plain]: "class Row {}\nfunction a() {\nclass Row {}\n}" }],
  ["a suite that is a function", { "tests/a.suite.ts": `function a() {\n${times(90, 'it("b", () => {});')}}` }],
  ["satisfies never", { [plain]: "switch (a) { default: throw new Error(a satisfies never); }" }],
  [
    "members without a doc sentence for the other packages",
    {
      "packages/lib/package.json": '{"exports":{"./internal":{"@aikirun/source":"./src/internal.ts"}}}',
      "packages/lib/src/internal.ts": "/** Says what it is. */\nexport interface A { a?: number }",
    },
  ],
  ["private packages", { "packages/x/package.json": '{"private":true}', "packages/x/src/index.ts": "export {};" }],
];

describe("tidy", () => {
  it.each(planted)("tidy finds $claim", ({ files, says }) => {
    const found = check(new Map(Object.entries(files)));
    expect(found.map(({ path, line, rule }) => `${path}:${line} ${rule}`)).toEqual(says.map(([place]) => place));
    for (const [index, [, message]] of says.entries()) expect(found[index]?.message).toContain(message);
  });

  it("tidy finds exceptions in lengths.ts that are no longer needed", () => {
    const found = check(new Map([["scripts/tidy/lengths.ts", "export {};"]]));
    expect(found.length).toBeGreaterThan(0);
    expect(found.every(({ rule, message }) => rule === "lengths" && message.endsWith("remove the entry"))).toBe(true);
  });

  it.each(allowed)("tidy allows %s", (_claim, files) => {
    expect(check(new Map(Object.entries(files)))).toEqual([]);
  });
});
