/** Programs whose standard output is a full disk, a closed pipe, or a full pipe that is not read. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { silentLogger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { v7 } from "uuid";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

const bin = fileURLToPath(new URL("../packages/cli/bin/aiki.js", import.meta.url));

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "aiki-outputs-"));
  ends.push(() => rm(path, { recursive: true, force: true, maxRetries: 5 }));
  return path;
}

/** Both ends of a new pipe. */
async function pipe(): Promise<{ reader: number; writer: number; path: string }> {
  const path = join(await folder(), "pipe");
  execFileSync("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  return { reader, writer, path };
}

/** A pipe that is full, and is not read. */
async function fullPipe(): Promise<number> {
  const { reader, writer } = await pipe();
  ends.push(() => closeSync(reader));
  try {
    for (;;) writeSync(writer, "x".repeat(1_000));
  } catch {
    // Fills the pipe to the last byte.
  }
  try {
    for (;;) writeSync(writer, "x");
  } catch {
    return writer;
  }
}

/** A pipe whose reader has gone. */
async function closedPipe(): Promise<number> {
  const { reader, writer } = await pipe();
  closeSync(reader);
  return writer;
}

interface RunningProgram {
  child: ChildProcess;
  exit: Promise<number | NodeJS.Signals | null>;
}

/** Runs `aiki` with this file as its standard output, and as its standard error unless `errors` is "pipe". */
function aiki(output: number, args: readonly string[], errors: "pipe" | null = null, cwd = tmpdir()): RunningProgram {
  const child = spawn(process.execPath, [bin, ...args], { cwd, stdio: ["ignore", output, errors ?? output] });
  closeSync(output);
  ends.push(() => child.kill("SIGKILL"));
  const exit = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
  return { child, exit };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Requests the url until it replies, or until the program has ended. */
async function statusOf(url: string, { exit }: RunningProgram): Promise<number | string> {
  const over = exit.then((how) => `ended with ${how}`);
  for (;;) {
    const answered = fetch(url, { signal: AbortSignal.timeout(5_000) }).then(
      ({ status }) => status,
      () => new Promise<null>((resolve) => setTimeout(() => resolve(null), 20)),
    );
    const status = await Promise.race([answered, over]);
    if (status !== null) return status;
  }
}

const outputs: Array<[string, () => Promise<number> | number]> = [
  ["a full disk", () => openSync("/dev/full", "w")],
  ["a closed pipe", closedPipe],
  ["a full pipe that is not read", fullPipe],
];

describe.each(outputs)("aiki server on %s", { timeout: 30_000 }, (_, open) => {
  it.each([["text"], ["JSON"]])("aiki server works and stops on SIGTERM, logging %s", async (format) => {
    const port = await freePort();
    const json = format === "JSON" ? ["--json"] : [];
    const args = ["server", "--port", String(port), "--database", "memory:", "--auth", ...json];
    const program = aiki(await open(), args);
    expect(await statusOf(`http://127.0.0.1:${port}/health/ready`, program)).toBe(200);
    // Each refusal logs a line.
    for (let count = 0; count < 5; count += 1) {
      const headers = { "content-type": "application/json", authorization: `Bearer wrong-${count}` };
      const reply = await fetch(`http://127.0.0.1:${port}/v1/find`, { method: "POST", headers, body: "{}" });
      expect(reply.status).toBe(401);
    }
    program.child.kill("SIGTERM");
    expect(await program.exit).toBe(0);
  });
});

describe("the log of aiki server", { timeout: 30_000 }, () => {
  it.each([["text"], ["JSON"]])(
    "the log of aiki server continues as %s when its pipe is read again, and counts lost lines",
    async (format) => {
      const { reader, writer, path } = await pipe();
      closeSync(reader);
      const port = await freePort();
      const json = format === "JSON" ? ["--json"] : [];
      const args = ["server", "--port", String(port), "--database", "memory:", "--auth", ...json];
      const program = aiki(writer, args);
      expect(await statusOf(`http://127.0.0.1:${port}/health/ready`, program)).toBe(200);
      const again = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const headers = { "content-type": "application/json", authorization: "Bearer wrong" };
      await fetch(`http://127.0.0.1:${port}/v1/find`, { method: "POST", headers, body: "{}" });
      program.child.kill("SIGTERM");
      expect(await program.exit).toBe(0);
      const bytes = Buffer.alloc(65_536);
      const output = bytes.toString("utf8", 0, readSync(again, bytes));
      closeSync(again);
      expect(output).toMatch(/log lines were dropped because they could not be written/);
      expect(output).toMatch(format === "JSON" ? /"lines":[1-9]/ : / lines=[1-9]/);
      expect(output).toMatch(/stopping/);
    },
  );
});

describe("a command of aiki", { timeout: 60_000 }, () => {
  let aikiServer: Server;
  let url = "";
  let runId = "";

  beforeAll(async () => {
    aikiServer = await server({ database: "memory:", logger: silentLogger });
    url = (await aikiServer.listen({ port: 0 })).url;
    runId = v7();
    const specs = Array.from({ length: 200 }, (_, index) => ({ id: index === 0 ? runId : v7() }));
    await aikiServer.api().start({ runs: specs.map(({ id }) => ({ id, name: "order", versionId: "1" })) });
  });
  afterAll(() => aikiServer.close());

  const commands: Array<[string, () => string[]]> = [
    ["--help", () => ["--help"]],
    ["--version", () => ["--version"]],
    ["runs list", () => ["runs", "list", "--limit", "200", "--url", url]],
    ["runs list --json", () => ["runs", "list", "--limit", "200", "--json", "--url", url]],
    ["runs show", () => ["runs", "show", runId, "--url", url]],
    ["runs pause", () => ["runs", "pause", runId, "--url", url]],
    ["runs resume", () => ["runs", "resume", runId, "--url", url]],
    ["runs cancel", () => ["runs", "cancel", runId, "--url", url]],
    ["workers", () => ["workers", "--url", url]],
    ["migrate", () => ["migrate", "--database", "sqlite:a.db"]],
    ["keys create", () => ["keys", "create", "--name", "n", "--database", "sqlite:a.db"]],
    ["keys list", () => ["keys", "list", "--database", "sqlite:a.db"]],
    ["move", () => ["move", "--from", "sqlite:a.db", "--to", "sqlite:b.db"]],
  ];

  it.each(commands)(
    "a command exits with 0 and prints nothing when its output pipe is closed: %s",
    async (name, args) => {
      const place = await folder();
      if (name === "move") {
        const from = await server({ database: `sqlite:${join(place, "a.db")}`, logger: silentLogger });
        await from.api().start({ runs: [{ id: v7(), name: "order", versionId: "1" }] });
        await from.close();
      }
      const { child, exit } = aiki(await closedPipe(), args(), "pipe", place);
      let errors = "";
      child.stderr?.on("data", (chunk) => {
        errors += String(chunk);
      });
      expect(await exit).toBe(0);
      expect(errors.replace(/^.* info {2}.*\n|^Key .* gives access to .*\n/gm, "")).toBe("");
    },
  );

  it("a command fails and prints that its output is lost when the disk is full", async () => {
    const args = ["runs", "list", "--limit", "200", "--url", url];
    const { child, exit } = aiki(openSync("/dev/full", "w"), args, "pipe");
    let errors = "";
    child.stderr?.on("data", (chunk) => {
      errors += String(chunk);
    });
    expect(await exit).toBe(1);
    expect(errors).toMatch(/^error OUTPUT_LOST: Standard output cannot be written\..*ENOSPC.*\n$/);
  });
});
