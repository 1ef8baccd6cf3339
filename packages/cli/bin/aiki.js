#!/usr/bin/env node
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const built = new URL("../dist/main.js", import.meta.url);

// In a fresh clone nothing is built yet; a published package always is.
if (!existsSync(built)) {
  const compiler = createRequire(import.meta.url)
    .resolve("typescript/package.json")
    .replace("package.json", "bin/tsc");
  console.error("Building Aiki first, once …");
  const workspace = new URL("../../..", import.meta.url);
  const { status } = spawnSync(process.execPath, [compiler, "-b", "packages/cli", "packages/task"], {
    cwd: workspace,
    stdio: ["ignore", 2, 2],
  });
  if (status !== 0) process.exit(status ?? 1);
}

const { main } = await import(built.href);
process.exitCode = await main(process.argv.slice(2));
