import { AikiError } from "@aikirun/lib";
import { limits, type Report, type ReportResult } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { type Script, scriptedApi } from "../test/scripted-api.ts";
import { settled, virtualEnv } from "../test/virtual-env.ts";
import { reporter } from "./reporter.ts";

const accepted: ReportResult = { ok: true, first: 1, tail: 1, inbox: 0, entries: [], parked: false, pause: false };

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
  const ended = new AbortController();
  const report = reporter({ api: scripted.api, env, session: "s", worker: "w", lanes: 1, ended: ended.signal });
  const held = (runId: string, output?: string) => report({ report: reportOf(runId, output), isLost: () => false });
  return { env, ended, report, held, ...scripted };
}

const acceptAll: Script = { report: ({ reports }) => ({ results: reports.map(() => accepted) }) };

describe("reports of all slots", () => {
  it("share one request in flight", async () => {
    let answer: () => void = () => {};
    const { held, asked } = setup({
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
    expect(asked.report.map(({ request }) => request.reports.map(({ runId }) => runId))).toEqual([
      ["a"],
      ["b", "c", "d"],
    ]);
  });

  it("are split by bytes", async () => {
    const { held, asked } = setup(acceptAll);
    const big = JSON.stringify("x".repeat(1_000_000));
    await Promise.all(["a", "b", "c", "d", "e"].map((id) => held(id, big)));
    for (const { request } of asked.report) {
      expect(JSON.stringify(request).length).toBeLessThan(limits.requestBytes);
    }
    expect(asked.report.flatMap(({ request }) => request.reports)).toHaveLength(5);
  });

  it("are repeated with the same ids while the server is away", async () => {
    let failures = 4;
    const { env, held, asked } = setup({
      report: ({ reports }) => {
        failures -= 1;
        if (failures >= 0) throw new AikiError("UNREACHABLE", "No answer.");
        return { results: reports.map(() => accepted) };
      },
    });
    const sent = Promise.all([held("a"), held("b")]);
    await env.advance(10_000);
    expect(await sent).toEqual([accepted, accepted]);
    expect(asked.report).toHaveLength(5);
    expect(new Set(asked.report.map(({ request }) => JSON.stringify(request))).size).toBe(1);
  });

  it("are given up once every run of the request must be presumed lost", async () => {
    let isLost = false;
    const { env, report, asked } = setup({
      report: () => {
        throw new AikiError("UNAVAILABLE", "Not now.");
      },
    });
    const sent = report({ report: reportOf("a"), isLost: () => isLost }).catch((error: unknown) => error);
    await env.advance(2_000);
    isLost = true;
    await env.advance(2_000);
    expect(await sent).toMatchObject({ code: "LEASE_LOST", ids: { runId: "a" } });
    const tries = asked.report.length;
    await env.advance(60_000);
    expect(asked.report).toHaveLength(tries);
  });

  it("of a run that was lost meanwhile are not sent", async () => {
    const { report, held, asked } = setup(acceptAll);
    const lost = report({ report: reportOf("a"), isLost: () => true });
    const kept = held("b");
    await expect(lost).rejects.toMatchObject({ code: "LEASE_LOST" });
    expect(await kept).toEqual(accepted);
    expect(asked.report.map(({ request }) => request.reports.map(({ runId }) => runId))).toEqual([["b"]]);
  });

  it("that no server accepts fail alone", async () => {
    const { held } = setup({
      report: ({ reports }) => {
        if (reports.some(({ runId }) => runId === "bad")) throw new AikiError("BAD_REQUEST", "Too large.");
        return { results: reports.map(() => accepted) };
      },
    });
    const results = await Promise.all(["a", "b", "bad", "c", "d"].map((id) => held(id)));
    expect(results.map(({ ok }) => ok)).toEqual([true, true, false, true, true]);
    expect(results[2]).toEqual({ ok: false, code: "BAD_REQUEST", message: "Too large." });
  });

  it("end with the worker", async () => {
    const { ended, held } = setup({
      report: () => {
        throw new AikiError("UNREACHABLE", "No answer.");
      },
    });
    const sent = held("a");
    await settled();
    ended.abort();
    await expect(sent).rejects.toMatchObject({ code: "LEASE_LOST" });
  });
});
