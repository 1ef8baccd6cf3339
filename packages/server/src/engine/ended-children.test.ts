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
  server: EngineRig,
  session: TestSession,
  { runs, children, end, holder = session }: { runs: number; children: number; end: Next; holder?: TestSession },
): Promise<Retried[]> {
  const startsOf = new Map<string, Report["starts"]>();
  for (let n = 0; n < runs; n++) {
    await session.start();
    const claimed = await session.claimOne();
    const starts = Array.from({ length: children }, (_, at) => ({
      address: `child:child#${at}`,
      spec: session.spec({ name: "child" }),
    }));
    startsOf.set(claimed.id, starts);
    await session.report(claimed, go, { starts });
    for (const child of await session.claim({ serves: childServes, limit: children })) await session.report(child, end);
    const failed: Next = { type: "finish", outcome: { status: "failed", error, retryInMs: 10 } };
    await session.report(claimed, failed, { seen: children, after: 2 * children });
  }
  await server.env.advance(1_000);
  const claimed = await holder.claim({ limit: runs });
  expect(claimed).toHaveLength(runs);
  return claimed.map((run) => ({ claimed: run, starts: startsOf.get(run.id) ?? [] }));
}

/** A report that starts the same children again, of a worker that has read its whole journal. */
function again(session: TestSession, { claimed, starts }: Retried): Report {
  return session.reporting(claimed, go, { starts, after: 2 * starts.length + 1 });
}

function returning(output: string): Next {
  return { type: "finish", outcome: { status: "completed", output } };
}

/** The new entries of the answer, and those that follow where it was cut. */
async function newEntries(server: EngineRig, report: Report, result: ReportResult | undefined): Promise<Entry[]> {
  if (result?.ok !== true) throw new Error(`The report was refused: ${result?.message}`);
  const relation = relationTo(report);
  const rest = await readFrom(server, report.runId, result.entriesCutAt ?? result.tail);
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
    const server = rig();
    const session = server.openSession();
    const runs = await retried(server, session, { runs: 10, children: 4, end: returning(output) });
    const reports = runs.map((run) => again(session, run));
    server.storage.takeCounts();
    const results = await session.send(...reports);
    expect(server.storage.takeCounts().characters).toBeLessThan(maxReply);
    expect(JSON.stringify(results).length).toBeLessThan(maxReply);
    for (const [index, report] of reports.entries()) {
      expect(endsOf(await newEntries(server, report, results[index]))).toEqual(expected(report, output));
    }
    const repeated = await session.send(...reports);
    expect(JSON.stringify(repeated).length).toBeLessThan(maxReply);
    for (const [index, report] of reports.entries()) {
      expect(endsOf(await newEntries(server, report, repeated[index]))).toEqual(expected(report, output));
    }
  });

  it("a report that starts many ended children records their outputs in parts", async () => {
    const env = virtualEnv();
    const { storage: inner, most: mostLoaded } = measured(memoryStorage({ env }));
    const server = rig({ env, inner });
    const session = server.openSession();
    const report = again(
      session,
      only(await retried(server, session, { runs: 1, children: 12, end: returning(output) })),
    );
    const [result] = await session.send(report);
    expect(JSON.stringify(result).length).toBeLessThan(maxReply);
    expect(mostLoaded()).toBeLessThan(maxReply);
    expect(mostLoaded()).toBeGreaterThan(bytes);
    expect(endsOf(await newEntries(server, report, result))).toEqual(expected(report, output));
  });

  it("a released run that is claimed at once has the loaded outputs of its children in its journal", async () => {
    const server = rig();
    const session = server.openSession();
    // The run is claimed through another server, so that it is still queued in the cache of this one.
    const holder = server.another().openSession();
    const run = only(await retried(server, session, { runs: 1, children: 2, end: returning(output), holder }));
    const report: Report = { ...again(holder, run), next: { type: "release", reason: "shutdown" } };
    const [results, [next]] = await Promise.all([
      new TestSession(server.api, server.env, holder.id).send(report),
      session.claim({ limit: 1 }),
    ]);
    expect(results).toMatchObject([{ ok: true, released: true }]);
    if (next === undefined) throw new Error("The run was not claimed.");
    expect(next.journalCutAt).toBe(next.journal.at(-1)?.seq);
    const rest = await readFrom(server, report.runId, next.journalCutAt ?? next.journal.length);
    const ends = [...next.journal, ...rest].filter(({ attempt, value }) => attempt === 2 && value.type === "returned");
    expect(endsOf(ends)).toEqual(expected(report, output));
  });
});

describe("a report of a later attempt, whose children have failed with long errors", () => {
  it("errors of children that do not fit into a reply are read when they are recorded", async () => {
    const server = rig();
    const session = server.openSession();
    const message = "m".repeat(60_000);
    const end: Next = { type: "finish", outcome: { status: "failed", error: { ...error, message }, retryInMs: null } };
    const report = again(session, only(await retried(server, session, { runs: 1, children: 100, end })));
    const saved = server.storage.batches.length;
    const [result] = await session.send(report);
    const [kept, ...others] = server.storage.batches.slice(saved).map(({ entries }) => JSON.stringify(entries).length);
    expect([kept, ...others].every((size = 0) => size < maxReply)).toBe(true);
    expect(others.length).toBeGreaterThan(0);
    expect(JSON.stringify(result).length).toBeLessThan(maxReply);
    expect(endsOf(await newEntries(server, report, result))).toEqual(expected(report, message));
  });
});

describe("a reply to reports", () => {
  it("a reply to reports has one budget over several transactions", async () => {
    const server = rig();
    const session = server.openSession();
    const sizes = [...Array.from({ length: 250 }, () => 28_000), ...Array.from({ length: 5 }, () => bytes)];
    const ids: string[] = [];
    for (let n = 0; n <= 250; n++) ids.push(await session.start());
    const claimed = await session.claim({ limit: ids.length });
    // The last run is decided in a second transaction. Its new entries alone fill a reply.
    const signals = sizes.map((size, n) => ({
      signalId: server.env.id(),
      runId: claimed[Math.min(n, 250)]?.id ?? "",
      signal: { type: "event", name: "e", data: JSON.stringify("x".repeat(size)) } as const,
    }));
    await server.api.signal({ signals });
    const reports = claimed.map((run) => session.reporting(run, go));
    server.storage.takeCounts();
    const results = await session.send(...reports);
    expect(server.storage.takeCounts().transactions).toBeGreaterThan(1);
    expect(JSON.stringify(results).length).toBeLessThan(maxReply);
    for (const [index, report] of reports.entries()) {
      expect(await newEntries(server, report, results[index])).toHaveLength(index < 250 ? 1 : 5);
    }
  });

  it("a reply is cut in entries of its own transaction", async () => {
    const server = rig();
    const session = server.openSession();
    const runId = await session.start();
    const report = session.reporting(await session.claimOne(), go, { entries: [returned("task:a#0")] });
    const event = { type: "event", name: "e", data: output } as const;
    const signals = Array.from({ length: 10 }, () => ({ signalId: server.env.id(), runId, signal: event }));
    const [, [result]] = await Promise.all([server.api.signal({ signals }), session.send(report)]);
    expect(result).toMatchObject({ ok: true, first: 11, tail: 11 });
    expect(JSON.stringify(result).length).toBeLessThan(maxReply);
    expect(await newEntries(server, report, result)).toHaveLength(10);
  });
});
