import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { commandCodes, databaseCodes } from "../packages/lib/src/error-codes/operations.ts";
import { requestCodes, valueCodes } from "../packages/lib/src/error-codes/requests.ts";
import { abortCodes, callerCodes, handlerCodes } from "../packages/lib/src/error-codes/runs.ts";
import { type ErrorCodeEntry, errorCodes } from "../packages/lib/src/error-codes/table.ts";
import { parse, walk } from "./tidy/source.ts";

const root = join(import.meta.dirname, "..");
const page = join(root, "docs", "errors.md");

/** The sections of docs/errors.md that contain a table. */
const sections: Readonly<Record<string, Readonly<Record<string, ErrorCodeEntry>>>> = {
  "Thrown into a handler": handlerCodes,
  "Thrown to a caller": callerCodes,
  "Values that do not fit": valueCodes,
  "Between client, worker and server": requestCodes,
  "Why a signal aborted": abortCodes,
  "The server's start and its database": databaseCodes,
  "The command line": commandCodes,
};

// `npx vitest run scripts/error-codes.test.ts -u` writes the page.
it("docs/errors.md agrees with the table of codes", async () => {
  const text = readFileSync(page, "utf8");
  await expect(text.replaceAll(/^## (.+)\n(?:(?!## ).*\n)*?(\|.*\n)+/gm, withTable)).toMatchFileSnapshot(page);
  expect(Object.values(sections).flatMap(Object.keys).sort()).toEqual(Object.keys(errorCodes).sort());
});

it("the sources use every code of the table, and write no other code into a record or a reply", () => {
  const literals = sources().flatMap(literalsOf);
  const used = new Set(literals.map(({ text }) => text));
  expect(Object.keys(errorCodes).filter((code) => !used.has(code))).toEqual([]);
  expect(
    literals.filter(({ text, isCode }) => isCode && /^[A-Z]/.test(text) && !Object.hasOwn(errorCodes, text)),
  ).toEqual([]);
});

function withTable(section: string, heading: string): string {
  const codes = sections[heading];
  if (codes === undefined) throw new Error(`docs/errors.md has a table under "${heading}", where no codes belong.`);
  const rows = Object.entries(codes).map(
    ([code, { retryable, meaning, remedy }]) =>
      `| \`${code}\` | ${retryable ? "yes" : "no"} | ${meaning} | ${remedy} |\n`,
  );
  const table = `| Code | Retryable | Meaning | Remedy |\n|---|---|---|---|\n${rows.join("")}`;
  return section.replace(/(\|.*\n)+$/, () => table);
}

function sources(): string[] {
  return readdirSync(join(root, "packages")).flatMap((name) => {
    const place = join(root, "packages", name, "src");
    return readdirSync(place, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !/\.test\.ts$|^error-codes/.test(path))
      .map((path) => join(place, path));
  });
}

/** The string literals in a file. `isCode` is true for the value of a property `code`. */
function literalsOf(path: string): Array<{ text: string; isCode: boolean }> {
  const found: Array<{ text: string; isCode: boolean }> = [];
  walk(parse(path, readFileSync(path, "utf8")).source.program, (node, [parent]) => {
    if (node.type !== "Literal" || typeof node.value !== "string") return;
    const isCode = parent?.type === "Property" && parent.key.type === "Identifier" && parent.key.name === "code";
    found.push({ text: node.value, isCode });
  });
  return found;
}
