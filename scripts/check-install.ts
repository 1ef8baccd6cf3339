/**
 * Installs the packed packages as production does: without development dependencies, into a folder that only root can
 * write. Runs a server on SQLite and one workflow there, as another user, in the memory of a small container.
 */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

/** The memory of a small container, and the limit of the JavaScript heap in it. MiB. */
const memory = { most: 512, heap: 384 };

/** The maximum time that a server without requests may take to stop. Milliseconds. */
const stopMs = 5_000;

const directory = mkdtempSync(join(tmpdir(), "aiki-install-"));
const app = join(directory, "app");
const data = join(directory, "data");
try {
  install();
  await run();
} finally {
  execFileSync("chmod", ["-R", "u+w", directory]);
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

function install(): void {
  for (const folder of [app, data]) mkdirSync(folder);
  const packages = readdirSync("packages").map((name) => resolve("packages", name));
  npm(directory, "pack", "--silent", "--ignore-scripts", ...packages);
  const tarballs = readdirSync(directory).filter((name) => name.endsWith(".tgz"));
  writeFileSync(join(app, "package.json"), JSON.stringify({ type: "module", private: true }));
  const paths = tarballs.map((name) => join("..", name));
  npm(app, "install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", ...paths);
  const unwanted = ["typescript", "vitest"].filter((name) => existsSync(join(app, "node_modules", name)));
  if (unwanted.length > 0) throw new Error(`Packages for development were installed: ${unwanted.join(", ")}.`);
  execFileSync("cp", ["scripts/one-workflow.mjs", app]);
  execFileSync("chmod", ["-R", "a+rX,a-w", directory]);
  execFileSync("chmod", ["a+w", data]);
}

function npm(cwd: string, ...args: string[]): void {
  execFileSync("npm", args, { cwd, stdio: ["ignore", "ignore", 2] });
}

async function run(): Promise<void> {
  const writer = start("-e", "try { require('node:fs').writeFileSync('written', '') } catch { process.exit(1) }");
  if ((await writer.ended) === 0) throw new Error("The installed folder is writable.");
  const database = `sqlite:${join(data, "aiki.db")}`;
  const server = start("node_modules/@aikirun/cli/bin/aiki.js", "server", "--port", "0", "--database", database);
  const url = /"url":"([^"]+)"/.exec(await server.line('"msg":"listening"'))?.[1] ?? "";
  const page = await (await fetch(url)).text();
  if (!page.includes("assets/index-")) throw new Error(`The installed server has no dashboard: ${page}`);
  const worker = start("one-workflow.mjs", url);
  await worker.line("returned 42");
  await expectSuccess("worker", worker.ended);
  const peak = peakOf(server.pid);
  const before = performance.now();
  process.kill(server.pid, "SIGTERM");
  await expectSuccess("server", server.ended);
  const tookMs = Math.round(performance.now() - before);
  if (tookMs > stopMs) throw new Error(`The server took ${tookMs} ms to stop.`);
  if (!(peak <= memory.most)) throw new Error(`The server used ${peak} MiB, but the container has ${memory.most} MiB.`);
  console.log(`install: ok; the server used at most ${peak} MiB`);
}

/** Runs Node in the installed folder as in production. If this process is root, runs it as another user. */
function start(...args: string[]) {
  const identity = process.getuid?.() === 0 ? { uid: 1000, gid: 1000 } : {};
  const child = spawn(process.execPath, [`--max-old-space-size=${memory.heap}`, ...args], {
    cwd: app,
    env: { PATH: process.env.PATH, HOME: data, NODE_ENV: "production" },
    stdio: ["ignore", "pipe", "inherit"],
    ...identity,
  });
  const lines = createInterface({ input: child.stdout });
  return {
    pid: child.pid ?? 0,
    ended: once(child, "exit").then(([code, signal]) => code ?? signal),
    /** Resolves with the first line that contains the text. Rejects if the process ends without one. */
    async line(text: string): Promise<string> {
      let before = "";
      for await (const line of lines) {
        if (line.includes(text)) return line;
        before += `\n${line}`;
      }
      throw new Error(`${args[0]} ended without "${text}" and printed:${before}`);
    },
  };
}

async function expectSuccess(name: string, ended: Promise<number | string>): Promise<void> {
  const code = await ended;
  if (code !== 0) throw new Error(`The ${name} ended with ${code}.`);
}

/** The peak memory of the process, in MiB. Returns 0 on systems other than Linux. */
function peakOf(pid: number): number {
  if (process.platform !== "linux") return 0;
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024);
}
