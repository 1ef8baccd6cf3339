import { AikiError } from "@aikirun/lib";
import { limits, type Report, type ReportResult } from "@aikirun/lib/protocol";
import { entry, type Script, scriptedApi, viewOf } from "@aikirun/testing/scripted-api";
import { settled, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { type OutgoingReport, Reporter } from "./reporter.ts";

const accepted: ReportResult = { ok: true, first: 1, tail: 1, inbox: 0, entries: [], released: false, pause: false };

function reportOf(runId: string, output?: string): Report {
  return {
    reportId: "1",
    runId,
    fence: 1,
    seen: 0,
    after: 0,
    entries: output === undefined ? [] : [{ address: "step:a#0", value: { type: "returned", output } }],
    opens: [],
    starts: [],
    next: { type: "continue" },
  };
}

function setup(script: Script) {
  const env = virtualEnv();
  const scripted = scriptedApi(script);
  const controller = new AbortController();
  const reporter = new Reporter({
    api: scripted.api,
    env,
    session: "s",
    worker: "w",
    lanes: 1,
    ended: controller.signal,
  });
  const report = (outgoing: OutgoingReport) => reporter.report(outgoing);
  const held = (runId: string, output?: string) => report({ report: reportOf(runId, output), isLost: () => false });
  return { env, controller, report, held, ...scripted };
}

const acceptAll: Script = { report: ({ reports }) => ({ results: reports.map(() => accepted) }) };

describe("reports of all slots", () => {
  it("reports of all slots share one request in flight", async () => {
    let answer: () => void = () => {};
    const { held, calls } = setup({
      report: ({ reports }) =>
        new Promise((resolve) => {
          answer = () => resolve({ results: reports.map(() => accepted) });
        }),
    });
    const sent = ["a", "b", "c", "d"].map((id, index) => (index === 0 ? held(id) : settled().then(() => held(id))));
    await settled();
    await settled();
    answer();
    await settled();
    answer();
    await Promise.all(sent);
    expect(calls.report.map(({ request }) => request.reports.map(({ runId }) => runId))).toEqual([
      ["a"],
      ["b", "c", "d"],
    ]);
  });

  it("reports are split by bytes", async () => {
    const { held, calls } = setup(acceptAll);
    const big = JSON.stringify("x".repeat(1_000_000));
    await Promise.all(["a", "b", "c", "d", "e"].map((id) => held(id, big)));
    for (const { request } of calls.report) {
      expect(JSON.stringify(request).length).toBeLessThan(limits.requestBytes);
    }
    expect(calls.report.flatMap(({ request }) => request.reports)).toHaveLength(5);
  });

  it("reports are repeated with the same ids while the server is unreachable", async () => {
    let failures = 4;
    const { env, held, calls } = setup({
      report: ({ reports }) => {
        failures -= 1;
        if (failures >= 0) throw new AikiError("UNREACHABLE", "No answer.");
        return { results: reports.map(() => accepted) };
      },
    });
    const sent = Promise.all([held("a"), held("b")]);
    await env.advance(10_000);
    expect(await sent).toEqual([accepted, accepted]);
    expect(calls.report).toHaveLength(5);
    expect(new Set(calls.report.map(({ request }) => JSON.stringify(request))).size).toBe(1);
  });

  it("reports are abandoned once every run of their request is presumed lost", async () => {
    let isLost = false;
    const { env, report, calls } = setup({
      report: () => {
        throw new AikiError("UNAVAILABLE", "Not now.");
      },
    });
    const sent = report({ report: reportOf("a"), isLost: () => isLost }).catch((error: unknown) => error);
    await env.advance(2_000);
    isLost = true;
    await env.advance(2_000);
    expect(await sent).toMatchObject({ code: "LEASE_LOST", ids: { runId: "a" } });
    const tries = calls.report.length;
    await env.advance(60_000);
    expect(calls.report).toHaveLength(tries);
  });

  it("the report of a lost run is not sent", async () => {
    const { report, held, calls } = setup(acceptAll);
    const lost = report({ report: reportOf("a"), isLost: () => true });
    const kept = held("b");
    await expect(lost).rejects.toMatchObject({ code: "LEASE_LOST" });
    expect(await kept).toEqual(accepted);
    expect(calls.report.map(({ request }) => request.reports.map(({ runId }) => runId))).toEqual([["b"]]);
  });

  const failingOnBad =
    (fault: () => unknown): NonNullable<Script["report"]> =>
    ({ reports }) => {
      if (reports.some(({ runId }) => runId === "bad")) throw fault();
      return { results: reports.map(() => accepted) };
    };
  const outcomesOf = (held: (runId: string) => Promise<unknown>) =>
    Promise.all(["a", "b", "bad", "c", "d"].map((id) => held(id).catch((error: unknown) => error)));

  it.each([
    ["BAD_REQUEST", "BAD_REQUEST"],
    ["LIMIT_EXCEEDED", "LIMIT_EXCEEDED"],
    ["PAYLOAD_TOO_LARGE", "LIMIT_EXCEEDED"],
  ] as const)(
    "a report that makes its request fail with %s is refused alone, with %s and the message",
    async (fault, code) => {
      const { held } = setup({ report: failingOnBad(() => new AikiError(fault, "No, because.")) });
      const refused = { ok: false, code, message: "No, because." };
      expect(await outcomesOf(held)).toEqual([accepted, accepted, refused, accepted, accepted]);
    },
  );

  it("a refused report receives its own code and message", async () => {
    const results: ReportResult[] = [
      { ok: false, code: "LIMIT_EXCEEDED", message: "Too many waits." },
      { ok: false, code: "FENCED", message: "Another worker holds it." },
    ];
    const { held } = setup({ report: ({ reports }) => ({ results: results.slice(0, reports.length) }) });
    expect(await Promise.all([held("a"), held("b")])).toEqual(results);
  });

  it("a report that makes the server fail is abandoned alone", async () => {
    const { held } = setup({ report: failingOnBad(() => new TypeError("x is undefined")) });
    const failed = expect.objectContaining({ code: "INTERNAL", message: "x is undefined", ids: { runId: "bad" } });
    expect(await outcomesOf(held)).toEqual([accepted, accepted, failed, accepted, accepted]);
  });

  it.each(["UNAUTHORIZED", "FORBIDDEN", "BAD_REPLY"] as const)(
    "reports are abandoned, not refused or repeated, if the server refuses the caller: %s",
    async (code) => {
      const { held, calls } = setup({ report: failingOnBad(() => new AikiError(code, "No.")) });
      const given = (runId: string) => expect.objectContaining({ code, ids: { runId } });
      expect(await outcomesOf(held)).toEqual(["a", "b", "bad", "c", "d"].map(given));
      expect(calls.report).toHaveLength(1);
    },
  );

  it("reports end with the worker", async () => {
    const { controller, held } = setup({
      report: () => {
        throw new AikiError("UNREACHABLE", "No answer.");
      },
    });
    const sent = held("a");
    await settled();
    controller.abort();
    await expect(sent).rejects.toMatchObject({ code: "LEASE_LOST" });
  });

  it("an answer that was cut is read on while the worker holds the run", async () => {
    let reads = 0;
    let isRefused = false;
    const { env, held } = setup({
      report: ({ reports }) => ({ results: reports.map(() => ({ ...accepted, first: 3, tail: 3, entriesCutAt: 1 })) }),
      read: () => {
        reads += 1;
        if (isRefused) throw new AikiError("UNAUTHORIZED", "The key was revoked.");
        if (reads === 1) throw new AikiError("UNREACHABLE", "The server is unreachable.");
        return { results: [{ ok: true, run: viewOf("a"), entries: [entry(2)], more: false }] };
      },
    });
    const sent = held("a");
    await env.advance(2_000);
    expect(await sent).toEqual({ ...accepted, first: 3, tail: 3, entries: [entry(2)] });
    expect(reads).toBe(2);
    isRefused = true;
    await expect(held("b")).rejects.toMatchObject({ code: "UNAUTHORIZED" });
  });
});
