/**
 * Installs the packed packages as production does, without development dependencies, into an empty folder, makes it
 * read-only, and runs them there: a server on SQLite in another folder, with the memory of a small container, and one
 * workflow. Needs a build.
 */

import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Container, run, type Started } from "./deploy/container.ts";

/** What a small container may use, and what of it JavaScript's heap may. MiB. */
const memory = { most: 512, heap: 384 };

/** What a server without requests takes to stop at most: long polls are answered at once. Milliseconds. */
const stopMs = 5_000;

const directory = mkdtempSync(join(tmpdir(), "aiki-install-"));
const app = join(directory, "app");
const data = join(directory, "data");
try {
  install();
  await live();
  console.log(`install: sound within ${memory.most} MiB`);
} finally {
  execFileSync("chmod", ["-R", "u+w", directory]);
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

function install(): void {
  mkdirSync(app);
  mkdirSync(data);
  const workspaces = readdirSync("packages").flatMap((name) => ["--workspace", `packages/${name}`]);
  npm(["pack", "--silent", "--ignore-scripts", ...workspaces, "--pack-destination", directory], process.cwd());
  const tarballs = readdirSync(directory).filter((name) => name.endsWith(".tgz"));
  const dependencies = Object.fromEntries(
    tarballs.map((name) => [name.replace(/^aikirun-(\w+)-.*/, "@aikirun/$1"), `file:../${name}`]),
  );
  writeFileSync(join(app, "package.json"), JSON.stringify({ type: "module", private: true, dependencies }));
  copyFileSync("scripts/deploy/one-workflow.mjs", join(app, "one-workflow.mjs"));
  npm(["install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], app);
  const unwanted = ["typescript", "vitest"].filter((name) => existsSync(join(app, "node_modules", name)));
  if (unwanted.length > 0) throw new Error(`Packages for development were installed: ${unwanted.join(", ")}.`);
  // As root the programs run as another user, who may enter and read all of it, and write into the data alone.
  chmodSync(directory, 0o755);
  execFileSync("chmod", ["-R", "a+rX,a-w", app]);
  chmodSync(data, 0o777);
}

function npm(args: string[], cwd: string): void {
  execFileSync("npm", args, { cwd, stdio: ["ignore", "ignore", 2] });
}

async function live(): Promise<void> {
  const container: Container = {
    built: { root: directory, workdir: "app", env: new Map([["NODE_ENV", "production"]]) },
    user: "1000:1000",
    entrypoint: [],
    variables: { HOME: data },
  };
  const small = ["node", `--max-old-space-size=${memory.heap}`];
  await expectRefusal(run(container, ["node", "-e", "require('node:fs').writeFileSync('written', '')"]));
  const bin = join("node_modules", "@aikirun", "cli", "bin", "aiki.js");
  const database = `sqlite:${join(data, "aiki.db")}`;
  const server = run(container, [...small, bin, "server", "--port", "0", "--database", database]);
  await server.says('"msg":"listening"');
  const url = /"url":"([^"]+)"/.exec(server.said())?.[1] ?? "";
  const worker = run(container, [...small, "one-workflow.mjs", url]);
  await worker.says("returned 42");
  await expectEnd("the worker", worker);
  checkMemory(server);
  const before = performance.now();
  server.stop("SIGTERM");
  await expectEnd("the server", server);
  const tookMs = Math.round(performance.now() - before);
  if (tookMs > stopMs) throw new Error(`The server took ${tookMs} ms to stop:\n${server.said()}`);
  if (!readdirSync(data).includes("aiki.db")) throw new Error(`There is no aiki.db in ${data}.`);
}

/** The folder must be one that cannot be written, or the rest would show nothing. */
async function expectRefusal(writer: Started): Promise<void> {
  if ((await writer.ended) === 0) throw new Error("The installed folder can be written.");
}

async function expectEnd(what: string, started: Started): Promise<void> {
  const code = await started.ended;
  if (code !== 0) throw new Error(`${what} ended with ${code}:\n${started.said()}`);
}

/** The most that the process has ever held in memory. Only Linux tells it. */
function checkMemory({ pid }: Started): void {
  if (process.platform !== "linux") {
    console.error("SKIPPED: only Linux tells the memory of another process.");
    return;
  }
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const peak = Math.round(Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) / 1_024);
  console.log(`install: the server took ${peak} MiB at most`);
  if (!(peak <= memory.most)) throw new Error(`The server took ${peak} MiB, and a container has ${memory.most}.`);
}
