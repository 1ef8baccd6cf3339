/** Runs all examples, or only the named ones, each in its own process. An example proves its claims or throws. */

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";

const directory = import.meta.dirname;
const requested = process.argv.slice(2).map((name) => `${name}.ts`);
const present = readdirSync(directory).filter(
  (name) => name.endsWith(".ts") && name !== basename(import.meta.filename),
);
const names = requested.length === 0 ? present : requested;
let failed = 0;
for (const name of names.sort()) {
  const began = Date.now();
  const run = spawnSync(process.execPath, [...process.execArgv, join(directory, name)], {
    encoding: "utf8",
    timeout: 60_000,
  });
  const passed = run.status === 0;
  if (!passed) failed++;
  console.log(`${passed ? "proved" : "FAILED"} ${name} (${Date.now() - began} ms)`);
  console.log(`${run.stdout}${passed ? "" : run.stderr}`.replace(/^/gm, "  ").trimEnd());
}
console.log(`${names.length - failed} of ${names.length} examples proved`);
process.exitCode = failed === 0 ? 0 : 1;
