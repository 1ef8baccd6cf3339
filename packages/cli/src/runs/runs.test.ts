/** The commands that start, follow, export and change runs, against a real server and worker. */

import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import type { RunView } from "@aikirun/lib/protocol";
import { server } from "@aikirun/server";
import { type RecordedTerminalOptions, recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { worker } from "@aikirun/worker";
import { event, workflow } from "@aikirun/workflow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "../main.ts";

const order = workflow({ name: "order" });
order.v("1.0.0", {
  events: { approved: event<{ by: string }>() },
  async handler(run, input: { id: string } | undefined) {
    const packed = await run.step("pack", () => `box of ${input?.id}`);
    const { by } = await run.events.approved.wait();
    return `${packed} for ${by}`;
  },
});

let aiki: Client;
let url = "";
let close = async () => {};

beforeAll(async () => {
  const aikiServer = await server({ database: "memory:", logger: silentLogger });
  ({ url } = await aikiServer.listen({ port: 0 }));
  aiki = await client({ url, logger: silentLogger });
  const aikiWorker = worker(aiki, { id: "w-1" });
  aikiWorker.registry.add(order);
  await aikiWorker.start();
  close = async () => {
    await aikiWorker.stop();
    await aiki.close();
    await aikiServer.close();
  };
});
afterAll(() => close());

interface EndedCommand {
  status: number;
  out: string;
  err: string;
  questions: string[];
}

async function run(args: readonly string[], options?: RecordedTerminalOptions): Promise<EndedCommand> {
  const { terminal, out, err, questions } = recordedTerminal(options);
  const status = await main(["runs", ...args, "--url", url], terminal);
  return { status, out: out.join("\n"), err: err.join("\n"), questions };
}

async function json(...args: string[]): Promise<unknown> {
  const { status, out, err } = await run([...args, "--json"]);
  expect([status, err]).toEqual([0, ""]);
  return JSON.parse(out);
}

/** Starts runs of a workflow that no worker serves. */
async function startUnserved(count: number): Promise<{ name: string; ids: string[] }> {
  const name = `unserved-${randomUUID()}`;
  const ids = Array.from({ length: count }, () => randomUUID());
  await aiki.api.start({ runs: ids.map((id) => ({ id, name, versionId: "1" })) });
  return { name, ids };
}

async function started(...args: string[]): Promise<RunView> {
  const view = Object(await json("start", ...args));
  return aiki.runs.get(view.id).view();
}

describe("aiki runs start", () => {
  it("start passes the options of the run, and finds the only version that live workers serve", async () => {
    const options = [
      "--reference",
      "ref-1",
      "--shard",
      "eu",
      "--priority",
      "-5",
      "--tag",
      "a",
      "--tag",
      "b",
      "--tag",
      "a",
    ];
    const input = ["--input", '{"id": "o-1"}'];
    const view = await started("order", ...input, ...options);
    expect(view).toMatchObject({ name: "order", versionId: "1.0.0", input: '{"id":"o-1"}', referenceId: "ref-1" });
    expect(view).toMatchObject({ shardKey: "eu", priority: -5, tags: ["a", "b"] });
    const again = await started("order@1.0.0", "--reference", "ref-1", "--input", '{ "id":"o-1" }');
    expect(again.id).toBe(view.id);
    const other = await run(["start", "order", "--reference", "ref-1", "--input", "2"]);
    expect([other.status, other.err]).toEqual([1, expect.stringMatching(/^error REFERENCE_CONFLICT: /)]);
    const existing = ["--reference", "ref-1", "--input", "2", "--on-conflict", "return_existing"];
    expect((await started("order", ...existing)).id).toBe(view.id);
  });

  it("start delays a run until a time, or for a duration", async () => {
    const later = await started("order", "--delay", "2h");
    expect(later).toMatchObject({ status: "scheduled" });
    expect(later.dueAt).toBeGreaterThan(Date.now() + 7_000_000);
    expect((await started("order", "--at", "2999-01-31")).dueAt).toBe(Date.parse("2999-01-31"));
  });

  it("start reads the input from a file or from standard input", async () => {
    const directory = await mkdtemp(join(tmpdir(), "aiki-cli-input-"));
    await writeFile(join(directory, "input.json"), '{"id":"é"}\n');
    expect(await started("order", "--input", `@${directory}/input.json`)).toMatchObject({ input: '{"id":"é"}' });
    await rm(directory, { recursive: true });
    const numbers = '[1,-9007199254740993e3,9007199254740992,0.1,"12345678901234567890\\""]';
    const { out } = await run(["start", "order", "--input", "-", "--json"], { input: numbers });
    const { input } = await aiki.runs.get(JSON.parse(out).id).view();
    expect(input).toBe(JSON.stringify(JSON.parse(numbers)));
  });

  it.each([
    [["order", "--input", "{id: 1}"], /^error: --input must be JSON, .* Received \{id: 1\} \(.*\)\.$/],
    [["order", "--input", ""], /^error: --input must be JSON, .* Received no text/],
    [["order", "--input", "@/no/such/file"], /names the file \/no\/such\/file, which cannot be read \(ENOENT/],
    [["order", "--input", '{"id":[12345678901234567890]}'], /has the number 12345678901234567890, which JavaScript/],
    [["order", "--input", `-${"9".repeat(400)}`], /has the number -9{10,}…, which JavaScript cannot hold exactly/],
    [["ordr"], /^error: Name the version to start, ordr@VERSION: no live worker serves it\.$/],
    [["order@"], /has no version after the @/],
    [["order", "--delay", "2h", "--at", "2999-01-31"], /cannot be used with option/],
    [["order", "--priority", "high"], /whole number from -1000 to 1000/],
  ])("start %j ends with status 2 and starts no run", async (args, sentence) => {
    const { status, err } = await run(["start", ...args]);
    expect([status, err]).toEqual([2, expect.stringMatching(sentence)]);
  });

  it("start names the versions if live workers serve several", async () => {
    const second = worker(aiki, { id: "w-2" });
    second.registry.add(workflow({ name: "order" }).v("2.0.0", { handler: async () => {} }));
    await second.start();
    const { status, err } = await run(["start", "order"]);
    await second.stop();
    expect([status, err]).toEqual([2, expect.stringContaining("live workers serve order@1.0.0, order@2.0.0.")]);
  });
});

describe("aiki runs show --follow and event", () => {
  it("show --follow prints new lines until the run ends, and event sends data", async () => {
    const { id } = await started("order", "--input", '{"id":"o-2"}');
    await aiki.runs.get(id).waitFor("awaiting_event");
    const shown = run(["show", id, "--follow"]);
    const sent = await run(["event", id.slice(0, 30), "approved", '{"by":"ada"}', "--reference", "click-1"]);
    expect(sent.out).toMatch(new RegExp(`^Sent the event approved to ${id}, which is `));
    const { status, out } = await shown;
    expect(status).toBe(0);
    const lines = out.split("\n").filter((line) => /^ *\+/.test(line));
    expect(lines.map((line) => line.trim().replace(/^\S+ +/, ""))).toEqual([
      expect.stringMatching(/^● order@1\.0\.0 +started +\{"id":"o-2"\}$/),
      expect.stringMatching(/^✓ pack +recorded +"box of o-2"/),
      expect.stringMatching(/^✉ approved +arrived +\{"by":"ada"\}$/),
      expect.stringMatching(/^✉ approved +event received +arrival 1$/),
      expect.stringMatching(/^● order@1\.0\.0 +completed +after .* "box of o-2 for ada"$/),
    ]);
  });

  it("start --follow --json prints each entry and the run at its end, one JSON text on each line", async () => {
    const shown = run(["start", "order", "--reference", "followed", "--follow", "--json"]);
    let id: string | undefined;
    while (id === undefined) id = (await aiki.runs.list({ referenceId: "followed" })).runs[0]?.id;
    await run(["event", id, "approved", '{"by":"bob"}']);
    const lines = (await shown).out.split("\n").map((line) => JSON.parse(line));
    expect(lines.map((line) => Object.keys(line)[0])).toEqual(["entry", "entry", "entry", "run"]);
    expect(lines.at(-1)).toMatchObject({ run: { id, status: "completed" } });
  });

  it("event refuses data that is not JSON before it sends anything", async () => {
    const { ids } = await startUnserved(1);
    const { status, err } = await run(["event", ids[0] ?? "", "approved", "yes"]);
    expect([status, err]).toEqual([2, expect.stringMatching(/^error: The data of the event must be JSON/)]);
  });
});

describe("aiki runs list and export", () => {
  it("list pages with a cursor, in either order, and lists all pages", async () => {
    const { name, ids } = await startUnserved(450);
    const first = Object(await json("list", "--name", name, "--limit", "2", "--order", "oldest"));
    const second = Object(
      await json("list", "--name", name, "--limit", "201", "--order", "oldest", "--cursor", first.cursor),
    );
    const listed = [...first.runs, ...second.runs].map(({ id }: RunView) => id);
    expect(new Set(listed).size).toBe(203);
    const all = Object(await json("list", "--name", name, "--all"));
    expect(all.runs.map(({ id }: RunView) => id).toSorted()).toEqual(ids.toSorted());
    expect(all.runs.slice(-203).map(({ id }: RunView) => id)).toEqual(listed.toReversed());
    const { out } = await run(["list", "--name", name, "--all"]);
    expect(out.split("\n")).toHaveLength(451);
    expect((await run(["list", "--name", name])).out).toMatch(/\nThere may be more: --all, or --cursor \S+$/);
    expect((await run(["list", "--name", "none", "--all"])).out).toBe("No runs match.");
  });

  it("list shows the children of a run, which is named by the beginning of its id", async () => {
    const { name, ids } = await startUnserved(1);
    const [id = ""] = ids;
    const child = workflow({ name: "child" }).v("1", { handler: async () => "done" });
    const parent = workflow({ name: `parent-${name}` }).v("1", {
      handler: async (context) => {
        await child.startAsChild(context);
      },
    });
    const family = worker(aiki, { id: "family" });
    family.registry.addMany([parent, child]);
    await family.start();
    const handle = await parent.start(aiki);
    await handle.result();
    await family.stop();
    const { out } = await run(["list", "--parent", handle.id.slice(0, 33)]);
    expect(out).toMatch(/child@1/);
    expect((await run(["list", "--parent", id])).out).toBe("No runs match.");
  });

  it("export prints each run that matches with its journal, input and output, one on each line", async () => {
    const ids: string[] = [];
    for (const input of ["1", "2"]) ids.push((await started("order", "--input", input, "--tag", "exported")).id);
    for (const id of ids) await aiki.runs.get(id).events.approved?.send({ by: "ada" });
    for (const id of ids) await aiki.runs.get(id).result();
    const { status, out } = await run(["export", "--tag", "exported", "--order", "oldest"]);
    expect(status).toBe(0);
    const lines = out.split("\n").map((line) => JSON.parse(line));
    expect(lines.map((line) => [line.run.input, line.run.outcome.output, line.entries.length])).toEqual([
      ["1", '"box of undefined for ada"', 3],
      ["2", '"box of undefined for ada"', 3],
    ]);
    expect(lines.map((line) => line.run.id)).toEqual(ids);
  });
});

describe("a reader that closes the pipe", () => {
  it.each([["export"], ["list", "--all", "--json"]])("ends %s before all runs are read", async (...args) => {
    const { name } = await startUnserved(401);
    const { terminal, out } = recordedTerminal();
    const drained = async () => false;
    expect(await main(["runs", ...args, "--name", name, "--url", url], { ...terminal, drained })).toBe(0);
    expect(out.length).toBeLessThan(210);
  });
});

describe("aiki runs cancel, retry, pause, resume and wake over many runs", () => {
  it("a filter shows the runs and their number, and acts after a confirmation", async () => {
    const { name } = await startUnserved(12);
    const { out, err, questions } = await run(["pause", "--name", name, "--reason", "audit"], { answers: ["y"] });
    expect(questions).toEqual(["pause 12 runs? [y/N] "]);
    expect(err.split("\n")).toHaveLength(12);
    expect(err).toMatch(/\nand 2 more$/);
    expect(out).toBe("Paused 12 runs.");
    const { runs } = await aiki.runs.list({ name, status: "paused" });
    expect(runs).toHaveLength(12);
    for (const { explanation } of runs) expect(explanation).toContain("audit");
  });

  it("more than 100 runs need their number, and another answer changes nothing", async () => {
    const { name } = await startUnserved(101);
    for (const answer of ["y", "100", ""]) {
      const { status, err, questions } = await run(["cancel", "--name", name], { answers: [answer] });
      expect([status, questions]).toEqual([1, ["Type 101 to cancel 101 runs: "]]);
      expect(err).toMatch(/Not confirmed\. Nothing was changed\.$/);
    }
    expect((await aiki.runs.list({ name, status: "cancelled" })).runs).toEqual([]);
    expect((await run(["cancel", "--name", name], { answers: ["101"] })).out).toBe("Cancelled 101 runs.");
  });

  it("without a terminal, --yes is needed", async () => {
    const { name } = await startUnserved(3);
    const { status, err } = await run(["cancel", "--name", name]);
    expect([status, err]).toEqual([2, expect.stringMatching(/3 runs would be affected\. Pass --yes to cancel them/)]);
    expect(await json("cancel", "--name", name, "--yes", "--reason", "obsolete")).toEqual({
      done: 3,
      skipped: 0,
      failed: 0,
    });
    const [cancelled] = (await aiki.runs.list({ name })).runs;
    expect(cancelled?.outcome).toEqual({ status: "cancelled", reason: "obsolete" });
    expect((await run(["cancel", "--name", "none", "--yes"])).out).toBe("No runs match.");
  });

  it("runs whose status does not allow the action, and ids that do not exist, are skipped", async () => {
    const { ids } = await startUnserved(2);
    const [first = "", second = ""] = ids;
    await aiki.runs.get(first).cancel();
    const named = await run(["cancel", first, second.slice(0, 30), randomUUID(), first, "--yes"]);
    expect([named.status, named.out]).toEqual([
      0,
      "Cancelled 2 runs, skipped 1 whose status does not allow it or that do not exist.",
    ]);
    expect(await json("resume", first, second, "--yes")).toEqual({ done: 0, skipped: 2, failed: 0 });
  });

  it("a run whose status changes between the question and the action is skipped", async () => {
    const { name, ids } = await startUnserved(2);
    const { terminal, out } = recordedTerminal();
    const ask = async () => {
      await aiki.runs.get(ids[0] ?? "").pause();
      return "y";
    };
    const args = ["runs", "cancel", "--name", name, "--status", "queued", "--url", url, "--json"];
    expect(await main(args, { ...terminal, ask })).toBe(0);
    expect(JSON.parse(out.join())).toEqual({ done: 1, skipped: 1, failed: 0 });
    expect(await aiki.runs.get(ids[0] ?? "").status()).toBe("paused");
  });

  it("retry starts a new run for each cancelled one", async () => {
    const { name } = await startUnserved(2);
    await run(["cancel", "--name", name, "--yes"]);
    expect((await run(["retry", "--name", name, "--status", "cancelled", "--yes"])).out).toBe("Retried 2 runs.");
    expect((await aiki.runs.list({ name, status: "queued" })).runs).toHaveLength(2);
  });

  it.each([
    [["cancel"], /Name the runs to cancel, or select them with filters/],
    [["wake", randomUUID(), "--name", "order"], /both together are not possible/],
    [["wake", "--reason", "x"], /unknown option '--reason'/],
  ])("%j ends with status 2", async (args, sentence) => {
    const { status, err } = await run(args);
    expect([status, err]).toEqual([2, expect.stringMatching(sentence)]);
  });
});
