/** The `aiki` command as users run it: processes, signals, and files that change while it runs. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { decode } from "@aikirun/lib/internal";
import { v7 } from "uuid";
import { afterEach, describe, expect, it } from "vitest";

const bin = fileURLToPath(new URL("../packages/cli/bin/aiki.js", import.meta.url));
const modules = fileURLToPath(new URL("../node_modules", import.meta.url));

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** One process of the command, with its output. */
class CommandProcess {
  output = "";
  readonly #child: ChildProcess;
  /** The exit status. */
  readonly exit: Promise<number | null>;

  constructor(cwd: string, args: string[]) {
    this.#child = spawn(process.execPath, [bin, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    const onData = (chunk: unknown) => {
      this.output += String(chunk);
    };
    this.#child.stdout?.on("data", onData);
    this.#child.stderr?.on("data", onData);
    this.exit = new Promise((resolve) => this.#child.once("exit", resolve));
    ends.push(() => this.end("SIGKILL"));
  }

  /** Resolves with the first match in the output after `from`. */
  async prints(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.output.slice(from));
      if (match !== null) return match;
      const more = new Promise<boolean>((resolve) => this.#child.stdout?.once("data", () => resolve(true)));
      const errors = new Promise<boolean>((resolve) => this.#child.stderr?.once("data", () => resolve(true)));
      const over = this.exit.then(() => false);
      if (!(await Promise.race([more, errors, over])))
        throw new Error(`The command ended without ${pattern}:\n${this.output}`);
    }
  }

  end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return this.exit;
  }
}

async function project(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "aiki-cli-"));
  ends.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  await symlink(modules, join(folder, "node_modules"));
  const all = { "package.json": '{ "type": "module" }', ...files };
  await Promise.all(Object.entries(all).map(([name, text]) => writeFile(join(folder, name), text)));
  return folder;
}

function workflows(body: string, versionId = "1.0.0"): string {
  return `import { workflow } from "@aikirun/workflow";
    import { answer } from "./answer.ts";
    export const wf = workflow({ name: "wf" });
    wf.v("${versionId}", { async handler(run): Promise<string> { ${body} } });`;
}

async function dev(folder: string, ...more: string[]): Promise<{ command: CommandProcess; aiki: Client; url: string }> {
  const command = new CommandProcess(folder, ["dev", "./workflows.ts", "--port", "0", ...more]);
  const [, url = ""] = await command.prints(/server on (http:\S+),/);
  const aiki = await client({ url, logger: silentLogger });
  ends.push(() => aiki.close());
  return { command, aiki, url };
}

async function outputOf(aiki: Client, versionId = "1.0.0"): Promise<unknown> {
  const id = v7();
  await aiki.api.start({ runs: [{ id, name: "wf", versionId }] });
  return aiki.runs.get(id).result();
}

const answer = { "answer.ts": 'export const answer: string = "first";' };

describe("aiki dev", { timeout: 60_000 }, () => {
  it("aiki dev serves the workflows of a TypeScript file, reloads its imports, and stops gracefully", async () => {
    const folder = await project({ ...answer, "workflows.ts": workflows("return answer;") });
    const { command, aiki } = await dev(folder, "--database", "memory:");
    await command.prints(/ready +workflows\.ts serves wf@1\.0\.0/);
    expect(await outputOf(aiki)).toBe("first");

    const before = command.output.length;
    await writeFile(join(folder, "answer.ts"), 'export const answer: string = "second";');
    await command.prints(/reload +answer\.ts changed[\s\S]*ready/, before);
    expect(await outputOf(aiki)).toBe("second");

    expect(await command.end("SIGINT")).toBe(0);
    expect(command.output).toContain("Stopping");
  });

  it("aiki dev serves the workflows of a CommonJS package", async () => {
    const files = { "package.json": "{}", "answer.ts": 'export const answer: string = "common";' };
    const folder = await project({ ...files, "workflows.ts": workflows("return answer;") });
    const { command, aiki } = await dev(folder);
    await command.prints(/ready .* serves wf@1\.0\.0/);
    expect(await outputOf(aiki)).toBe("common");
  });

  it("aiki dev prints what is broken, and continues when it is fixed", async () => {
    const folder = await project({ ...answer, "workflows.ts": "export const nothing = 1;" });
    const { command, aiki } = await dev(folder, "--database", "memory:");
    await command.prints(/broken +NOTHING_EXPORTED: .*exports no workflow/);
    await writeFile(join(folder, "workflows.ts"), "export const = ;");
    await command.prints(/broken +(?!NOTHING_EXPORTED)/);
    await writeFile(join(folder, "workflows.ts"), workflows("return answer;"));
    await command.prints(/ready/);
    expect(await outputOf(aiki)).toBe("first");
    expect(await command.end("SIGTERM")).toBe(0);
  });

  it("aiki dev replaces a worker that crashes, and its run continues", async () => {
    const body = 'await run.step("fall", crash); return answer;';
    const crash = `import { existsSync, writeFileSync } from "node:fs";
      function crash() {
        if (existsSync("fallen")) return;
        writeFileSync("fallen", "");
        process.kill(process.pid, "SIGKILL");
      }`;
    const folder = await project({ ...answer, "workflows.ts": `${crash}\n${workflows(body)}` });
    const { command, aiki } = await dev(folder, "--database", "memory:");
    await command.prints(/ready/);
    const output = outputOf(aiki);
    await command.prints(/crashed +worker dev-1 ended \(SIGKILL\)[\s\S]*its 1 run will continue within .*wf@1\.0\.0/);
    expect(await output).toBe("first");
    expect(await command.end("SIGINT")).toBe(0);
  });

  it("aiki dev kills a worker whose event loop is blocked, and prints that it was blocked", async () => {
    const loop = "for (;;) {}";
    const folder = await project({
      ...answer,
      "workflows.ts": workflows(`if (answer === "first") ${loop} return answer;`),
    });
    const { command, aiki } = await dev(folder, "--database", "memory:");
    await command.prints(/ready/);
    const output = outputOf(aiki);
    await command.prints(/blocked +worker dev-1 sent no message for 6 s/);
    await writeFile(join(folder, "answer.ts"), 'export const answer: string = "mended";');
    expect(await output).toBe("mended");
    await command.end("SIGINT");
  });

  it("aiki dev keeps runs in its file over a restart", async () => {
    const body = "await run.sleep({ milliseconds: 1_500 }); return answer;";
    const folder = await project({ ...answer, "workflows.ts": workflows(body) });
    const first = await dev(folder);
    await first.command.prints(/ready/);
    const id = v7();
    await first.aiki.api.start({ runs: [{ id, name: "wf", versionId: "1.0.0" }] });
    await first.aiki.runs.get(id).waitFor("sleeping");
    expect(await first.command.end("SIGINT")).toBe(0);
    const second = await dev(folder);
    expect(await second.aiki.runs.get(id).result()).toBe("first");
    await second.command.end("SIGINT");
  });
});

describe("aiki server", { timeout: 30_000 }, () => {
  it("aiki server listens until SIGTERM, and logs JSON with --json", async () => {
    const folder = await project({});
    const command = new CommandProcess(folder, ["server", "--port", "0", "--database", "memory:", "--json"]);
    const [, line = ""] = await command.prints(/(\{.*"listening".*\})\n/);
    const fields = Object(decode(line));
    expect(fields).toMatchObject({ level: "info", msg: "listening", database: "memory:" });
    expect((await fetch(`${fields.url}/health/ready`)).status).toBe(200);
    expect(await command.end("SIGTERM")).toBe(0);
  });

  it("aiki server prints that its port or its file is in use", async () => {
    const folder = await project({});
    const first = new CommandProcess(folder, ["server", "--port", "0"]);
    const [, port = ""] = await first.prints(/localhost:(\d+)/);
    const samePort = new CommandProcess(folder, ["server", "--port", port, "--database", "memory:"]);
    await samePort.prints(/PORT_IN_USE: .*Stop what listens there/);
    const sameFile = new CommandProcess(folder, ["server", "--port", "0"]);
    await sameFile.prints(/DATABASE_LOCKED: .*in use by another Aiki server/);
    expect(await first.end("SIGINT")).toBe(0);
  });
});

describe("aiki worker", { timeout: 60_000 }, () => {
  async function serverOf(folder: string): Promise<{ aiki: Client; url: string }> {
    const command = new CommandProcess(folder, ["server", "--port", "0", "--database", "memory:"]);
    const [url = ""] = await command.prints(/http:\S+(?=,)/);
    const aiki = await client({ url, logger: silentLogger });
    ends.push(() => aiki.close());
    return { aiki, url };
  }

  it("aiki worker serves a TypeScript file in its shards, and records a running step on SIGTERM", async () => {
    const body = `
      await run.step("work", () => new Promise<string>((resolve) => {
        process.once("SIGTERM", () => resolve("finished"));
        console.log("working");
      }));
      await run.sleep({ days: 1 });
      return answer;`;
    const folder = await project({ ...answer, "workflows.ts": workflows(body) });
    const { aiki, url } = await serverOf(folder);
    const args = ["--url", url, "--shard", "eu", "--shard", "us", "--concurrency", "2", "--id", "w-1"];
    const command = new CommandProcess(folder, ["worker", "workflows.ts", ...args]);
    await command.prints(/ready +worker w-1 on http.*\n +workflows\.ts serves wf@1\.0\.0/);
    expect(await aiki.workers.list()).toMatchObject([{ worker: "w-1", shardKeys: ["eu", "us"], load: { slots: 2 } }]);
    const id = v7();
    await aiki.api.start({ runs: [{ id, name: "wf", versionId: "1.0.0", shardKey: "us" }] });
    await command.prints(/working/);
    expect(await command.end("SIGTERM")).toBe(0);
    const { results } = await aiki.api.read({ runs: [{ runId: id, entries: { after: 0, limit: 9 } }], workers: true });
    expect(results).toMatchObject([{ entries: [{ value: { type: "returned", output: '"finished"' } }] }]);
    expect(await aiki.workers.list()).toEqual([]);
  });

  it("aiki worker prints why a file cannot be loaded, and ends with status 1", async () => {
    const folder = await project({ "workflows.ts": "export const = ;", "none.ts": "export {};" });
    const broken = new CommandProcess(folder, ["worker", "workflows.ts"]);
    expect(await broken.exit).toBe(1);
    expect(broken.output).toMatch(/workflows\.ts:1:13: .*\n[\s\S]*error: .*workflows\.ts cannot be loaded\.\n$/);
    const none = new CommandProcess(folder, ["worker", "none.ts"]);
    expect(await none.exit).toBe(1);
    expect(none.output).toMatch(/^error NOTHING_EXPORTED: /);
  });
});
