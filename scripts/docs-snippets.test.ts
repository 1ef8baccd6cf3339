import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { modulesOf } from "./docs-snippets/modules.ts";

const fence = "```";

const cases: Array<{ claim: string; document: string[]; modules: Record<string, string[]> }> = [
  {
    claim: "modulesOf keeps a block at the lines of the document",
    document: ["# Title", `${fence}ts`, "const a = 1;", fence, "text"],
    modules: { "block-2.ts": ["", "", "const a = 1;"] },
  },
  {
    claim: "modulesOf names a block after its first line",
    document: [`${fence}typescript`, "// tasks.ts", "const a = 1;", fence],
    modules: { "tasks.ts": ["", "// tasks.ts", "const a = 1;"] },
  },
  {
    claim: "modulesOf ignores other languages",
    document: [`${fence}bash`, "npm ci", fence, `${fence}text`, "a", fence],
    modules: {},
  },
  {
    claim: "modulesOf appends a continued block to the previous one",
    document: [`${fence}ts`, "const a = 1;", fence, "<!-- continues -->", `${fence}ts`, "a;", fence],
    modules: { "block-1.ts": ["", "const a = 1;", "", "", "", "a;"] },
  },
  {
    claim: "modulesOf adds given declarations to the next block",
    document: ["<!-- given: declare const a: 1; -->", `${fence}ts`, "a;", fence],
    modules: { "block-2.ts": ["declare const a: 1; ", "", "a;"] },
  },
  {
    claim: "modulesOf creates a hidden file",
    document: ["<!-- file: w.ts", "export const a = 1;", "-->", `${fence}ts`, 'import "./w.ts";', fence],
    modules: { "w.ts": ["", "export const a = 1;", ""], "block-4.ts": ["", "", "", "", 'import "./w.ts";'] },
  },
];

describe("modulesOf", () => {
  it.each(cases)("$claim", ({ document, modules }) => {
    const expected = Object.entries(modules).map(([name, lines]) => [name, `${lines.join("\n")}\nexport {};\n`]);
    expect([...modulesOf(document.join("\n"))]).toEqual(expected);
  });
});

it("the README's first workflow is the example that CI runs", () => {
  const root = join(import.meta.dirname, "..");
  const shown = modulesOf(readFileSync(join(root, "README.md"), "utf8")).get("first.ts");
  const run = readFileSync(join(root, "examples", "first.ts"), "utf8");
  expect(shown?.replace(/export \{\};\n$/, "").trim()).toBe(`// first.ts\n${run.trim()}`);
});
