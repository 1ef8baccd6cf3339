/** A later attempt starts the same children again, and receives the outcomes of those that have ended. */

import { relationTo } from "@aikirun/lib/internal";
import { type ClaimedRun, type Entry, limits, type Next, type Report, type ReportResult } from "@aikirun/lib/protocol";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { type EngineRig, only, rig, TestSession } from "../../test/rig.ts";
import { error, go, returned } from "../../test/runs.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import type { Storage } from "../storage/storage.ts";

const bytes = 1_900_000;
/** The largest reply: the budget, one item that exceeds it, and what surrounds the items. In characters. */
const maxReply = limits.replyBytes + limits.payloadBytes + 200_000;
const childServes = [{ name: "child", versionId: "1" }];

interface Retried {
  claimed: ClaimedRun;
  starts: Report["starts"];
}

/** Claims runs for their second attempt; each started `children` children in its first, which ended with `end`. */
async function retried(
  here: EngineRig,
  one: TestSession,
  { runs, children, end, holder = one }: { runs: number; children: number; end: Next; holder?: TestSession },
): Promise<Retried[]> {
  const startsOf = new Map<string, Report["starts"]>();
  for (let n = 0; n < runs; n++) {
    await one.start();
    const claimed = await one.claimOne();
    const starts = Array.from({ length: children }, (_, at) => ({
      address: `child:child#${at}`,
      spec: one.spec({ name: "child" }),
    }));
    startsOf.set(claimed.id, starts);
    await one.report(claimed, go, { starts });
    for (const child of await one.claim({ serves: childServes, limit: children })) await one.report(child, end);
    const failed: Next = { type: "finish", outcome: { status: "failed", error, retryInMs: 10 } };
    await one.report(claimed, failed, { seen: children, after: 2 * children });
  }
  await here.env.advance(1_000);
  const claimed = await holder.claim({ limit: runs });
  expect(claimed).toHaveLength(runs);
  return claimed.map((run) => ({ claimed: run, starts: startsOf.get(run.id) ?? [] }));
}

/** A report that starts the same children again, of a worker that has read its whole journal. */
function again(one: TestSession, { claimed, starts }: Retried): Report {
  return one.reporting(claimed, go, { starts, after: 2 * starts.length + 1 });
}

function returning(output: string): Next {
  return { type: "finish", outcome: { status: "completed", output } };
}

/** The new entries of the answer, and those that follow where it was cut. */
async function newEntries(here: EngineRig, report: Report, result: ReportResult | undefined): Promise<Entry[]> {
  if (result?.ok !== true) throw new Error(`The report was refused: ${result?.message}`);
  const relation = relationTo(report);
  const rest = await readFrom(here, report.runId, result.entriesCutAt ?? result.tail);
  return [...result.entries, ...rest.filter((entry) => relation(entry) !== "asItSays")];
}

async function readFrom({ api }: Pick<EngineRig, "api">, runId: string, after: number): Promise<Entry[]> {
  const page = only((await api.read({ runs: [{ runId, entries: { after, limit: 100 } }] })).results);
  if (!page.ok) throw new Error(page.message);
  const last = page.entries.at(-1)?.seq;
  return page.more && last !== undefined ? [...page.entries, ...(await readFrom({ api }, runId, last))] : page.entries;
}

/** The output or error of each ended child, by address. */
function endsOf(entries: readonly Entry[]): Array<[string, string | undefined]> {
  return entries.map(({ address, value }) => [
    address,
    value.type === "returned" ? value.output : value.type === "threw" ? value.error.cause?.message : value.type,
  ]);
}

function expected({ starts }: Report, end: string): Array<[string, string]> {
  return starts.map(({ address }) => [`${address}/result`, end]);
}

/** Storage that measures the most characters that one call of `payloads` has loaded. */
function measured(inner: Storage): { storage: Storage; most(): number } {
  let most = 0;
  const storage: Storage = {
    ...inner,
    transaction: (work) =>
      inner.transaction((transaction) => {
        const payloads: typeof transaction.payloads = async (ids) => {
          const loaded = await transaction.payloads(ids);
          most = Math.max(most, JSON.stringify([...loaded]).length);
          return loaded;
        };
        return work(new Proxy(transaction, { get: (of, key) => (key === "payloads" ? payloads : bound(of, key)) }));
      }),
  };
  return { storage, most: () => most };
}

function bound(of: object, key: string | symbol): unknown {
  const member: unknown = Reflect.get(of, key);
  return typeof member === "function" ? member.bind(of) : member;
}

const output = JSON.stringify("x".repeat(bytes));

describe("reports of later attempts, whose children have ended with large outputs", () => {
  it("reports of later attempts load and answer only what fits into one reply, all together", async () => {
    const here = rig();
    const one = here.openSession();
    const runs = await retried(here, one, { runs: 10, children: 4, end: returning(output) });
    const reports = runs.map((run) => again(one, run));
    here.storage.takeCounts();
    const results = await one.send(...reports);
    expect(here.storage.takeCounts().characters).toBeLessThan(maxReply);
    expect(JSON.stringify(results).length).toBeLessThan(maxReply);
    for (const [index, report] of reports.entries()) {
      expect(endsOf(await newEntries(here, report, results[index]))).toEqual(expected(report, output));
    }
    const repeated = await one.send(...reports);
    expect(JSON.stringify(repeated).length).toBeLessThan(maxReply);
    for (const [index, report] of reports.entries()) {
      expect(endsOf(await newEntries(here, report, repeated[index]))).toEqual(expected(report, output));
    }
  });

  it("a report that starts many ended children records their outputs in parts", async () => {
    const env = virtualEnv();
    const { storage: inner, most: mostLoaded } = measured(memoryStorage({ env }));
    const here = rig({ env, inner });
    const one = here.openSession();
    const report = again(one, only(await retried(here, one, { runs: 1, children: 12, end: returning(output) })));
    const [result] = await one.send(report);
    expect(JSON.stringify(result).length).toBeLessThan(maxReply);
    expect(mostLoaded()).toBeLessThan(maxReply);
    expect(mostLoaded()).toBeGreaterThan(bytes);
    expect(endsOf(await newEntries(here, report, result))).toEqual(expected(report, output));
  });

  it("a released run that is claimed at once brings the loaded outputs of its children", async () => {
    const here = rig();
    const one = here.openSession();
    // The run is claimed through another server, so that it is still queued in the cache of this one.
    const holder = here.another().openSession();
    const run = only(await retried(here, one, { runs: 1, children: 2, end: returning(output), holder }));
    const report: Report = { ...again(holder, run), next: { type: "release", reason: "shutdown" } };
    const [results, [next]] = await Promise.all([
      new TestSession(here.api, here.env, holder.session).send(report),
      one.claim({ limit: 1 }),
    ]);
    expect(results).toMatchObject([{ ok: true, released: true }]);
    if (next === undefined) throw new Error("The run was not claimed.");
    expect(next.journalCutAt).toBe(next.journal.at(-1)?.seq);
    const rest = await readFrom(here, report.runId, next.journalCutAt ?? next.journal.length);
    const ends = [...next.journal, ...rest].filter(({ attempt, value }) => attempt === 2 && value.type === "returned");
    expect(endsOf(ends)).toEqual(expected(report, output));
  });
});

describe("a report of a later attempt, whose children have failed with long errors", () => {
  it("errors of children that do not fit into a reply are read when they are recorded", async () => {
    const here = rig();
    const one = here.openSession();
    const message = "m".repeat(60_000);
    const end: Next = { type: "finish", outcome: { status: "failed", error: { ...error, message }, retryInMs: null } };
    const report = again(one, only(await retried(here, one, { runs: 1, children: 100, end })));
    const saved = here.storage.batches.length;
    const [result] = await one.send(report);
    const [kept, ...others] = here.storage.batches.slice(saved).map(({ entries }) => JSON.stringify(entries).length);
    expect([kept, ...others].every((size = 0) => size < maxReply)).toBe(true);
    expect(others.length).toBeGreaterThan(0);
    expect(JSON.stringify(result).length).toBeLessThan(maxReply);
    expect(endsOf(await newEntries(here, report, result))).toEqual(expected(report, message));
  });
});

describe("a reply to reports", () => {
  it("a reply to reports has one budget over several transactions", async () => {
    const here = rig();
    const one = here.openSession();
    const sizes = [...Array.from({ length: 250 }, () => 28_000), ...Array.from({ length: 5 }, () => bytes)];
    const ids: string[] = [];
    for (let n = 0; n <= 250; n++) ids.push(await one.start());
    const claimed = await one.claim({ limit: ids.length });
    // The last run is decided in a second transaction. Its new entries alone fill a reply.
    const signals = sizes.map((size, n) => ({
      signalId: here.env.id(),
      runId: claimed[Math.min(n, 250)]?.id ?? "",
      signal: { type: "event", name: "e", data: JSON.stringify("x".repeat(size)) } as const,
    }));
    await here.api.signal({ signals });
    const reports = claimed.map((run) => one.reporting(run, go));
    here.storage.takeCounts();
    const results = await one.send(...reports);
    expect(here.storage.takeCounts().transactions).toBeGreaterThan(1);
    expect(JSON.stringify(results).length).toBeLessThan(maxReply);
    for (const [index, report] of reports.entries()) {
      expect(await newEntries(here, report, results[index])).toHaveLength(index < 250 ? 1 : 5);
    }
  });

  it("a reply is cut in entries of its own transaction", async () => {
    const here = rig();
    const one = here.openSession();
    const runId = await one.start();
    const report = one.reporting(await one.claimOne(), go, { entries: [returned("task:a#0")] });
    const event = { type: "event", name: "e", data: output } as const;
    const signals = Array.from({ length: 10 }, () => ({ signalId: here.env.id(), runId, signal: event }));
    const [, [result]] = await Promise.all([here.api.signal({ signals }), one.send(report)]);
    expect(result).toMatchObject({ ok: true, first: 11, tail: 11 });
    expect(JSON.stringify(result).length).toBeLessThan(maxReply);
    expect(await newEntries(here, report, result)).toHaveLength(10);
  });
});
