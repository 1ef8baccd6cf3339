import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse, walk } from "./tidy/source.ts";

/** Capitals in the sources that are no error codes. */
const others = new Set(
  [
    "POST GET HEAD DENY EADDRINUSE", // HTTP and sockets
    "EEXIST ENOENT ENOTDIR EPIPE", // files and pipes
    "BEGIN COMMIT ROLLBACK ASC DESC ERROR", // SQL
    "INFO MAXLEN PUBLISH SELECT WRONGTYPE XADD", // Redis
    "SIGINT SIGTERM SIGKILL", // processes
    "AIKI_URL AIKI_DATABASE AIKI_DATABASE_CONNECTIONS AIKI_DATABASE_DIRECT AIKI_REDIS", // settings
    "DATABASE_URL REDIS_URL NODE_ENV", // settings of others
    "AIKI RUN WORKFLOW STATUS STARTED WORKER SESSION BUSY SHARDS SEEN SERVES", // headings
    "KEY NAME NAMESPACE CREATED STANDING SCOPES", // headings
  ].flatMap((words) => words.split(" ")),
);
/** Refusals between the core and the engine, which no caller sees. */
const internal = new Set(["NOT_DUE"]);

const root = join(import.meta.dirname, "..");

it("docs/errors.md names every code in the sources, and no other", () => {
  expect(documented()).toEqual([...new Set(sources().flatMap(codes))].sort());
});

function sources(): string[] {
  return readdirSync(join(root, "packages")).flatMap((name) => {
    const place = join(root, "packages", name, "src");
    return readdirSync(place, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
      .map((path) => join(place, path));
  });
}

function codes(path: string): string[] {
  const found: string[] = [];
  walk(parse(path, readFileSync(path, "utf8")).source.program, (node) => {
    if (node.type === "Literal" && typeof node.value === "string" && isCode(node.value)) found.push(node.value);
  });
  return found;
}

/** Names of variables begin with AIKI. */
function isCode(text: string): boolean {
  return /^(?!AIKI_)[A-Z]{2,}(_[A-Z]+)*$/.test(text) && !others.has(text) && !internal.has(text);
}

function documented(): string[] {
  const rows = readFileSync(join(root, "docs", "errors.md"), "utf8").matchAll(/^\| `([A-Z_]+)` \|/gm);
  return [...rows].flatMap(([, code]) => code ?? []).sort();
}
