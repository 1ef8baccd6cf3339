/** Holds what would be published against publint and attw; needs a build. */

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const bin = join("node_modules", ".bin");
let failed = 0;
for (const name of readdirSync("packages")) {
  const path = join("packages", name);
  const passed =
    succeeds("publint", ["run", path, "--strict"]) && succeeds("attw", ["--pack", path, "--profile", "esm-only"]);
  if (!passed) failed++;
  console.log(`${passed ? "sound" : "BROKEN"}: @aikirun/${name}`);
}
process.exitCode = failed === 0 ? 0 : 1;

function succeeds(command: string, args: string[]): boolean {
  const run = spawnSync(join(bin, command), args, { encoding: "utf8" });
  if (run.status !== 0) console.log(`${run.stdout}${run.stderr}`);
  return run.status === 0;
}
