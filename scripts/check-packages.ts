/**
 * Checks the packages with publint and attw, and compares the Node version of every manifest and document with that of
 * the root manifest. Needs a build.
 */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const bin = join("node_modules", ".bin");
const manifest = z.object({ engines: z.object({ node: z.string() }) });
const node = nodeOf("package.json");
let failed = 0;
for (const document of ["README.md", "CONTRIBUTING.md"]) {
  if (readFileSync(document, "utf8").includes(`Node ${node.replace(/^>=/, "")} or newer`)) continue;
  console.log(`BROKEN: ${document} does not name the Node version of package.json, ${node}`);
  failed++;
}
for (const name of readdirSync("packages")) {
  const path = join("packages", name);
  const passed =
    agrees(join(path, "package.json")) &&
    succeeds("publint", ["run", path, "--strict"]) &&
    succeeds("attw", ["--pack", path, "--profile", "esm-only"]);
  if (!passed) failed++;
  console.log(`${passed ? "sound" : "BROKEN"}: @aikirun/${name}`);
}
process.exitCode = failed === 0 ? 0 : 1;

function succeeds(command: string, args: string[]): boolean {
  const run = spawnSync(join(bin, command), args, { encoding: "utf8" });
  if (run.status !== 0) console.log(`${run.stdout}${run.stderr}`);
  return run.status === 0;
}

/** The Node versions that a package runs on, for example `>=20.19`. */
function nodeOf(path: string): string {
  return manifest.parse(JSON.parse(readFileSync(path, "utf8"))).engines.node;
}

function agrees(path: string): boolean {
  if (nodeOf(path) === node) return true;
  console.log(`${path} names Node ${nodeOf(path)}, and package.json ${node}`);
  return false;
}
