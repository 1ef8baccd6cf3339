import { randomUUID } from "node:crypto";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { type RecordedTerminalOptions, recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { main } from "../main.ts";
import { widthOf } from "../text.ts";

let aikiServer: Server;
let url = "";
let paused = "";

beforeAll(async () => {
  aikiServer = await server({ database: "memory:", logger: silentLogger });
  ({ url } = await aikiServer.listen({ port: 0 }));
  const aiki = await client({ server: aikiServer, logger: silentLogger });
  const start = async (count: number, name: string) => {
    const runs = Array.from({ length: count }, () => ({ id: randomUUID(), name, versionId: "1" }));
    await aiki.api.start({ runs });
    return runs.map(({ id }) => id);
  };
  [paused = ""] = await start(1, "order");
  await start(250, "bulk");
  await aiki.runs.get(paused).pause();
  const workers = Array.from({ length: 30 }, (_, n) => `w-${String(n).padStart(2, "0")}`);
  for (const worker of workers) {
    const request = { claimId: randomUUID(), session: randomUUID(), worker, shardKeys: [], limit: 1, waitMs: 0 };
    await aiki.api.claim({
      ...request,
      serves: [{ name: "x", versionId: "1" }],
      leaseMs: 30_000,
      load: { slots: 4, busy: 1 },
    });
  }
  await aiki.close();
});
afterAll(() => aikiServer.close());
afterEach(() => {
  for (const event of ["SIGINT", "SIGTERM"]) process.removeAllListeners(event);
});

async function top(args: string[], options?: RecordedTerminalOptions): Promise<string[]> {
  const { terminal, out } = recordedTerminal(options);
  expect(await main(["top", "--url", url, ...args], terminal)).toBe(0);
  return out;
}

describe("aiki top", () => {
  it("prints workers, runs by status and the latest changes once if the output is no terminal", async () => {
    const out = await top([]);
    expect(out[0]).toMatch(/^aiki top {2}http:\/\/\S+ {2}30 workers, 30 of 120 slots busy$/);
    expect(out[2]).toBe("queued 200+   paused 1");
    expect(out).toContainEqual(expect.stringMatching(/^w-00 +\S+ +1\/4 /));
    const changes = out.slice(out.findIndex((line) => line.startsWith("RUN ")) + 1);
    expect(changes[0]).toMatch(new RegExp(`^${paused} +order@1 +paused +\\S+ (ms|s) ago +Paused`));
  });

  it("draws lines that fit a terminal until q is pressed", async () => {
    const out = await top(["--interval", "9d"], { isInteractive: true, width: 60, keys: ["x", "q"] });
    expect(out).toHaveLength(24);
    for (const line of out) expect(widthOf(line)).toBeLessThanOrEqual(60);
    expect(out.filter((line) => line.startsWith("w-"))).toHaveLength(13);
    expect(out).toContain("and 17 more");
    expect(out.at(-1)).toMatch(/^[0-9a-f-]{36} +bulk@1 +queued/);
  });

  it("prints JSON", async () => {
    const [line = ""] = await top(["--json"]);
    const { workers, statuses, changed } = JSON.parse(line);
    expect([workers.length, changed[0].id]).toEqual([30, paused]);
    expect(statuses).toEqual([
      { status: "queued", count: 200, isMore: true },
      { status: "paused", count: 1, isMore: false },
    ]);
  });

  it("shows on a terminal that the server cannot be reached, and continues until q is pressed", async () => {
    const { terminal, out } = recordedTerminal({ isInteractive: true });
    const other = await server({ database: "memory:", logger: silentLogger });
    const listener = await other.listen({ port: 0 });
    const press: Array<(key: string) => void> = [];
    let isClosed = false;
    const draw = (lines: readonly string[]) => {
      out.push(...lines);
      if (!isClosed) {
        isClosed = true;
        void other.close();
      } else if (lines.some((line) => line.includes("UNREACHABLE"))) press[0]?.("q");
    };
    const screen = (onKey: (key: string) => void) => {
      press.push(onKey);
      return { draw, close: () => {} };
    };
    expect(await main(["top", "--url", listener.url, "--interval", "1s"], { ...terminal, screen })).toBe(0);
    expect(out).toContainEqual(expect.stringMatching(/^UNREACHABLE: /));
  });
});
