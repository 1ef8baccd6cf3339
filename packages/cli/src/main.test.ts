import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import type { ClaimRequest } from "@aikirun/lib/protocol";
import { server } from "@aikirun/server";
import { recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "./main.ts";

const quiet = { database: "memory:", logger: silentLogger };

async function aiki(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const { terminal, out, err } = recordedTerminal();
  const status = await main(args, terminal);
  return { status, out: out.join("\n"), err: err.join("\n") };
}

/** Runs a command whose output throws this error. */
async function failing(error: Error): Promise<{ status: number; err: string }> {
  const { terminal, err } = recordedTerminal();
  const out = (): never => {
    throw error;
  };
  const args = ["migrate", "--database", `sqlite:${join(tmpdir(), randomUUID())}.db`];
  return { status: await main(args, { ...terminal, out }), err: err.join("\n") };
}

describe("aiki runs and workers", () => {
  let url = "";
  let close = async () => {};
  let start = async (): Promise<string> => "";
  let startAlike = async (_count: number): Promise<string[]> => [];
  let startMany = async (_count: number, _shardKey: string): Promise<void> => {};
  let claim = async (_: Partial<ClaimRequest>): Promise<void> => {};

  beforeAll(async () => {
    const aikiServer = await server(quiet);
    const listener = await aikiServer.listen({ port: 0 });
    const local = await client({ server: aikiServer, logger: silentLogger });
    url = listener.url;
    start = async () => {
      const id = randomUUID();
      await local.api.start({ runs: [{ id, name: "order", versionId: "1.0.0", referenceId: id, inputHash: "x" }] });
      return id;
    };
    startAlike = async (count) => {
      const first = randomUUID().slice(0, -2);
      const ids = Array.from({ length: count }, (_, n) => `${first}${String(n).padStart(2, "0")}`);
      await local.api.start({ runs: ids.map((id) => ({ id, name: "alike", versionId: "1" })) });
      return ids;
    };
    startMany = async (count, shardKey) => {
      const runs = Array.from({ length: count }, () => ({
        id: randomUUID(),
        name: "many",
        versionId: "1.0.0",
        shardKey,
      }));
      await local.api.start({ runs });
    };
    claim = async (more) => {
      const request = { claimId: randomUUID(), session: randomUUID(), serves: [], shardKeys: [], limit: 1 };
      await local.api.claim({ ...request, worker: "w", leaseMs: 30_000, waitMs: 0, ...more });
    };
    close = async () => {
      await local.close();
      await aikiServer.close();
    };
  });
  afterAll(() => close());

  it("list shows a run with its status and what it waits for", async () => {
    const id = await start();
    const { status, out } = await aiki("runs", "list", "--url", url, "--name", "order", "--reference", id);
    expect(status).toBe(0);
    expect(out).toMatch(new RegExp(`${id} +order@1\\.0\\.0 +queued .*no worker serves order@1\\.0\\.0`));
    const json = await aiki("runs", "list", "--url", url, "--reference", id, "--json");
    expect(JSON.parse(json.out)).toMatchObject({ runs: [{ id, status: "queued" }] });
    expect((await aiki("runs", "list", "--url", url, "--status", "failed,stalled")).out).toBe("No runs match.");
  });

  it("list filters by version, shard, error code and time of creation", async () => {
    const id = await start();
    const listed = async (...args: string[]): Promise<string> =>
      (await aiki("runs", "list", "--url", url, "--reference", id, ...args)).out;
    expect(await listed("--version-id", "1.0.0", "--created-after", "2020-01-31")).toContain(id);
    for (const args of [
      ["--version-id", "2.0.0"],
      ["--shard", "eu"],
      ["--error-code", "DECLINED"],
      ["--created-after", "2999-01-31T12:00:00Z"],
      ["--created-before", "2020-01-31"],
    ]) {
      expect([args, await listed(...args)]).toEqual([args, "No runs match."]);
    }
  });

  it("list finds a run although the first page of the server is empty", async () => {
    await startMany(1, "rare");
    for (let count = 0; count < 6_000; count += 1_000) await startMany(1_000, "common");
    const { out } = await aiki("runs", "list", "--url", url, "--shard", "rare");
    expect(out).toContain("many@1.0.0");
  });

  it("show prints what happened to a run", async () => {
    const id = await start();
    const { out } = await aiki("runs", "show", id, "--url", url);
    expect(out).toMatch(/order@1\.0\.0 +started/);
    const json = await aiki("runs", "show", id, "--url", url, "--json");
    expect(JSON.parse(json.out)).toMatchObject({ run: { id }, entries: [] });
  });

  it("a run is named by the beginning of its id, in either case", async () => {
    const id = await start();
    for (const prefix of [id.slice(0, 24), ` ${id.slice(0, 20).toUpperCase()}`]) {
      const { out } = await aiki("runs", "show", prefix, "--url", url, "--json");
      expect(JSON.parse(out)).toMatchObject({ run: { id } });
    }
    expect((await aiki("runs", "pause", id.slice(0, 22), "--url", url)).out).toContain(`${id} is paused`);
  });

  it("the beginning of several ids is refused with a list of the runs, and that of no id as not found", async () => {
    const ids = await startAlike(12);
    const few = await aiki("runs", "cancel", `${ids[0]?.slice(0, -2)}1`, "--url", url);
    expect([few.status, few.err.split("\n").at(-1)]).toEqual([
      1,
      expect.stringMatching(/^error AMBIGUOUS_RUN: 2 runs have an id that begins with .*Write more of the id\.$/),
    ]);
    for (const id of ids.slice(10)) expect(few.err).toMatch(new RegExp(`^${id} +alike@1 +queued`, "m"));
    const many = await aiki("runs", "show", ids[0]?.slice(0, -2) ?? "", "--url", url);
    expect(many.err.split("\n")).toHaveLength(12);
    expect(many.err).toContain("error AMBIGUOUS_RUN: More than 10 runs have");
    const none = await aiki("runs", "show", "ffffffff-ff", "--url", url);
    expect([none.status, none.err]).toEqual([1, expect.stringMatching(/^error RUN_NOT_FOUND: .*ffffffff-ff\.$/)]);
  });

  it("pause, resume, cancel and retry print the new status of the run", async () => {
    const id = await start();
    expect((await aiki("runs", "pause", id, "--url", url)).out).toContain(`${id} is paused`);
    expect((await aiki("runs", "resume", id, "--url", url)).out).toContain(`${id} is queued`);
    expect((await aiki("runs", "cancel", id, "--reason", "no more", "--url", url)).out).toContain("Cancelled: no more");
    const { out } = await aiki("runs", "retry", id, "--url", url);
    expect(out).toMatch(/is queued \(a new run/);
    expect(out).not.toContain(id);
  });

  it("why prints why a run does not move", async () => {
    const id = await start();
    const { status, out } = await aiki("why", id.slice(0, 30), "--url", url);
    expect(status).toBe(0);
    expect(out.split("\n")).toEqual([
      `${id} order@1.0.0 queued`,
      expect.stringMatching(/^ {2}Queued for .*: no live worker serves order@1\.0\.0/),
    ]);
    const json = await aiki("why", id, "--url", url, "--json");
    expect(JSON.parse(json.out)).toMatchObject({ links: [{ runId: id, reason: "no_worker" }] });
    const unknown = await aiki("why", randomUUID(), "--url", url);
    expect([unknown.status, unknown.err]).toEqual([1, expect.stringMatching(/^error RUN_NOT_FOUND: /)]);
  });

  it("a refusal ends the command with status 1 and prints its code and a sentence", async () => {
    const id = await start();
    const refused = await aiki("runs", "wake", id, "--url", url);
    expect([refused.status, refused.err]).toEqual([1, expect.stringMatching(/^error ILLEGAL_STATE: .*queued/)]);
    const unknown = await aiki("runs", "show", randomUUID(), "--url", url);
    expect([unknown.status, unknown.err]).toEqual([1, expect.stringMatching(/^error RUN_NOT_FOUND: /)]);
  });

  it("workers shows what each worker serves, how busy it is, and when it last called", async () => {
    expect((await aiki("workers", "--url", url)).out).toBe("No worker is alive.");
    const serves = ["1", "2", "3", "4", "5", "6"].map((versionId) => ({ name: "ship\n", versionId }));
    const load = { slots: 20, busy: 3 };
    await claim({ session: "0190a000-0000-7000-8000-00000000abcd", serves, shardKeys: ["eu", "us"], load });
    await claim({ worker: "silent", serves: serves.slice(0, 1) });
    const { status, out } = await aiki("workers", "--url", url);
    expect(status).toBe(0);
    const [heading, silent, busy] = out.split("\n");
    expect(heading).toMatch(/^WORKER +SESSION +BUSY +SHARDS +SEEN +SERVES$/);
    expect(silent).toMatch(/^silent +\S+ +\? +- +\S+ (ms|s) ago +ship ⏎ @1$/);
    expect(busy).toMatch(/^w +0000abcd +3\/20 +eu, us +\S+ (ms|s) ago +ship ⏎ @1, .*@4 and 2 more$/);
    const json = await aiki("workers", "--url", url, "--json");
    expect(JSON.parse(json.out)).toMatchObject([{ worker: "silent" }, { worker: "w", load }]);
  });

  it("a server that does not run is reported at once", async () => {
    const { status, err } = await aiki("runs", "list", "--url", "http://127.0.0.1:1");
    expect([status, err]).toEqual([1, expect.stringContaining("error UNREACHABLE")]);
  });
});

describe("aiki", () => {
  it.each([
    [["nonsense"], /unknown command/],
    [["runs", "show"], /missing required argument/],
    [["runs", "show", "order-1"], /'order-1' is invalid for argument 'run'\. The id of a run, or its beginning, /],
    [["runs", "cancel", "01890a5dac9b"], /hexadecimal digits and dashes/],
    [["move", "--from", "sqlite:a.db"], /required option '--to/],
    [["server", "--port", "70000"], /from 0 to 65535/],
    [["runs", "list", "--status", "asleep"], /Statuses are scheduled, /],
    [["runs", "list", "--created-after", "noon"], /a time such as 2026-01-31/],
  ])("%j ends with status 2 and prints what is wrong", async (args, sentence) => {
    const { status, err } = await aiki(...args);
    expect(status).toBe(2);
    expect(err).toMatch(sentence);
  });

  it("aiki prints its version and its commands", async () => {
    expect((await aiki("--version")).out).toMatch(/^\d+\.\d+\.\d+$/);
    expect((await aiki("--help")).out).toMatch(/server.*dev.*runs.*workers/s);
  });

  it("aiki move copies runs to another database and prints what to do next", async () => {
    const directory = await mkdtemp(join(tmpdir(), "aiki-cli-move-"));
    const [from, to] = [`sqlite:${join(directory, "a.db")}`, `sqlite:${join(directory, "b.db")}`];
    const before = await server({ database: from, logger: silentLogger });
    await before.api().start({ runs: [{ id: randomUUID(), name: "order", versionId: "1" }] });
    await before.close();
    const { status, out } = await aiki("move", "--from", from, "--to", to);
    expect(status).toBe(0);
    expect(out).toContain("Moved 1 run (1 queued) with 0 entries.");
    expect(out).toContain(`start your servers with --database ${to}`);
    expect((await aiki("move", "--from", from, "--to", to)).out).toContain("Already moved");
    const json = await aiki("move", "--from", from, "--to", to, "--json");
    expect(JSON.parse(json.out)).toMatchObject({ runs: 1, entries: 0, already: true });
    const migrated = await aiki("migrate", "--database", to, "--json");
    expect(JSON.parse(migrated.out)).toEqual({ database: to });
    expect((await aiki("move", "--from", to, "--to", "memory:")).err).toContain("INVALID_CONFIG");
    await rm(directory, { recursive: true, maxRetries: 3 });
  });

  describe("failed commands", () => {
    let directory = "";
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), "aiki-cli-paths-"));
      await mkdir(join(directory, "folder"));
      await writeFile(join(directory, "file"), "");
      await writeFile(join(directory, "workflows.ts"), "");
      await symlink("loop", join(directory, "loop"));
    });
    afterAll(() => rm(directory, { recursive: true, maxRetries: 3 }));

    const commands: Array<[command: string, args: (database: string) => string[]]> = [
      ["server", (database) => ["server", "--port", "0", "--database", database]],
      ["dev", (database) => ["dev", join(directory, "workflows.ts"), "--port", "0", "--database", database]],
      ["migrate", (database) => ["migrate", "--database", database]],
      ["move", (database) => ["move", "--from", database, "--to", `sqlite:${join(directory, "to.db")}`]],
      ["move to it", (database) => ["move", "--from", `sqlite:${join(directory, "file")}`, "--to", database]],
      ["keys", (database) => ["keys", "list", "--database", database]],
    ];
    const paths: Array<[path: string, code: RegExp]> = [
      ["folder", /STORAGE_UNAVAILABLE/],
      ["loop", /STORAGE_UNAVAILABLE/],
      [`${"a".repeat(300)}.db`, /STORAGE_UNAVAILABLE/],
      ["file/x.db", /STORAGE_UNAVAILABLE|MOVE_SOURCE_EMPTY/],
      ["missing/", /INVALID_CONFIG/],
    ];
    // Nothing can be created in /proc, and Node's recursive mkdir never returns there.
    if (process.platform === "linux") paths.push(["/proc/missing/x.db", /STORAGE_UNAVAILABLE|MOVE_SOURCE_EMPTY/]);
    const all = commands.flatMap(([command, args]) =>
      paths.map(([path, code]) => [command, path, code, args] as const),
    );

    it.each(all)("%s with the path %s prints a code and one sentence, and no stack", async (_, path, code, args) => {
      const file = path.startsWith("/") ? path : `${directory}/${path}`;
      const { status, err } = await aiki(...args(`sqlite:${file}`));
      expect(status).toBe(1);
      expect(err).toMatch(new RegExp(`^error (${code.source}): [^\\n]+\\.( \\([^)]+\\))?$`));
    });

    it("dev with a folder prints a code and one sentence", async () => {
      expect((await aiki("dev", directory, "--database", "memory:")).err).toMatch(
        /^error NO_SUCH_FILE: There is no file/,
      );
    });

    it("an unexpected error of the operating system prints a code and one sentence", async () => {
      const refusal = Object.assign(new Error("EMFILE: too many open files, watch"), {
        code: "EMFILE",
        syscall: "watch",
      });
      const { status, err } = await failing(refusal);
      expect([status, err]).toEqual([
        1,
        expect.stringMatching(/^error SYSTEM_ERROR: .*EMFILE: too many open files.*\.$/),
      ]);
    });

    it("a fault of Aiki itself prints a code and one sentence", async () => {
      const { status, err } = await failing(new TypeError("x is not a function"));
      expect([status, err]).toEqual([
        1,
        expect.stringMatching(/^error INTERNAL: x is not a function\. This is a fault/),
      ]);
    });
  });

  it("an invalid database or a missing file is refused with its error code", async () => {
    expect((await aiki("server", "--database", "mysql://x/y")).err).toContain("INVALID_CONFIG");
    expect((await aiki("migrate", "--database", "memory:")).err).toContain("INVALID_CONFIG");
    expect((await aiki("dev", "./missing.ts", "--database", "memory:")).err).toContain("NO_SUCH_FILE");
  });
});
