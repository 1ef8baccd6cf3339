/** A server with a heap of 512 MB handles every verb with the largest payloads, in replies of bounded size. */

import { type Api, limits, type Verb, wrapApi } from "@aikirun/lib/protocol";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";
import { v7 } from "uuid";
import { afterEach, beforeEach, expect, it } from "vitest";
import { only, Stage, signed } from "../suites/actors.ts";
import { openScenario, type Scenario } from "./scenario.ts";
import { describeOn, topologies } from "./topology.ts";

const heapMb = 512;
/** Runs on SQLite and PostgreSQL. Their inputs fill a quarter and an eighth of the heap, and so do their outputs. */
const counts = [60, 30];
const text = "x".repeat(limits.payloadBytes - 100);
const large = JSON.stringify(text);
/** A reply may exceed its budget by one item: a run with both payloads and a page of its journal. */
const replyMost = limits.replyBytes + limits.journalPageBytes + 4 * limits.payloadBytes;

interface PayloadSubject {
  stage: Stage;
  runs: string[];
}

/** One proof for each verb. */
const proofs: { readonly [V in Verb]: (subject: PayloadSubject) => Promise<void> } = {
  async start({ stage, runs }) {
    const again = (input: string) => ({ runs: runs.map((id) => stage.spec({ id, input })) });
    const codes = (await stage.api.start(again("1"))).results.map((result) => (result.ok ? "ok" : result.code));
    expect(new Set(codes)).toEqual(new Set(["RUN_ID_CONFLICT"]));
    const same = { runs: runs.slice(0, 3).map((id) => stage.spec({ id, input: large })) };
    expect((await stage.api.start(same)).results).toMatchObject([
      { created: false },
      { created: false },
      { created: false },
    ]);
  },

  async find({ stage, runs }) {
    const { runs: listed } = await stage.api.find({ name: stage.name, limit: 200 });
    expect(listed).toHaveLength(Math.min(200, runs.length));
  },

  async read({ stage, runs }) {
    const [first = ""] = runs;
    const repeated = Array.from({ length: 1_000 }, () => ({ runId: first }));
    const { results, more } = await stage.api.read({ runs: repeated });
    expect([results.length < 10, more]).toEqual([true, true]);
    const seen = new Set<string>();
    for (let left = [...runs]; left.length > 0; ) {
      const page = await stage.api.read({ runs: left.map((runId) => ({ runId, entries: { after: 0, limit: 10 } })) });
      expect(page.results.length).toBeGreaterThan(0);
      for (const result of page.results) {
        if (result.ok && result.run.input === large) seen.add(result.run.id);
      }
      left = left.slice(page.results.length);
      expect(page.more ?? false).toBe(left.length > 0);
    }
    expect(seen.size).toBe(runs.length);
  },

  async watch({ stage, runs }) {
    const [first = ""] = runs;
    const item = (runId: string) => ({ type: "status" as const, runId, statuses: ["queued" as const] });
    const repeated = Array.from({ length: limits.watchedItems }, () => item(first));
    expect((await stage.api.watch({ watched: repeated, waitMs: 0 })).results).toHaveLength(1);
    const seen = new Set<string>();
    while (seen.size < runs.length) {
      const watched = runs.filter((id) => !seen.has(id)).map(item);
      const { results } = await stage.api.watch({ watched, waitMs: 0 });
      expect(results.length).toBeGreaterThan(0);
      for (const result of results) if (result.type === "status") seen.add(result.run.id);
    }
  },

  async signal({ stage }) {
    const id = await stage.start({ priority: 5 });
    for (let sent = 0; sent < 3; sent++) {
      const event = { type: "event", name: "e", data: large } as const;
      const signals = Array.from({ length: 3 }, () => ({ signalId: v7(), runId: id, signal: event }));
      const again = await Promise.all([stage.api.signal({ signals }), stage.api.signal({ signals })]);
      expect(again.flatMap(({ results }) => results).every(({ ok }) => ok)).toBe(true);
    }
    await stage.signal(id, { type: "cancel" });
  },

  async report({ stage }) {
    const id = await stage.start({ priority: 5 });
    const one = stage.worker();
    const claimed = only(await one.claim({ limit: 1 }));
    expect(claimed.id).toBe(id);
    // Confirms the claim. An unconfirmed claim expires after 10 s, and the signals may take longer on a busy machine.
    const held = [{ runId: id, fence: claimed.fence }];
    await stage.api.renew({ ...signed, session: one.session, leaseMs: 300_000, runs: held });
    for (let sent = 0; sent < 30; sent++) await stage.signal(id, { type: "event", name: "e", data: large });
    const answer = await one.report(claimed, { entries: [{ address: "task:t#0", value: { type: "returned" } }] });
    expect(answer).toMatchObject({ first: 31, tail: 31 });
    expect(answer.entriesCutAt).toBe(answer.entries.at(-1)?.seq);
    expect(answer.entries.length).toBeLessThan(10);
    const changes = { type: "changes", runId: id, fence: claimed.fence, seen: 0, after: 0 } as const;
    const { results } = await stage.api.watch({ watched: [changes], waitMs: 0 });
    expect(results).toMatchObject([{ type: "changes", inbox: 0 }]);
    await one.finish(claimed);
  },

  async renew({ stage, runs }) {
    const one = stage.worker();
    const held = runs.map((runId) => ({ runId, fence: 1 }));
    const { results } = await stage.api.renew({ ...signed, session: one.session, leaseMs: 30_000, runs: held });
    expect(results.every(({ ok }) => !ok)).toBe(true);
  },

  /** Must be the last test: it completes all runs. */
  async claim({ stage, runs }) {
    const workers = Array.from({ length: 4 }, () => stage.worker());
    const taken = new Set<string>();
    const holders: Promise<void>[] = workers.map(async (one) => {
      while (taken.size < runs.length / 2) {
        const claimed = await one.claim({ limit: 300 });
        for (const { id, input, inputLeftOut } of claimed) {
          expect(inputLeftOut === true || input === large).toBe(true);
          taken.add(id);
        }
      }
      await one.leave();
    });
    await Promise.all(holders);
  },
};

const order: readonly Verb[] = ["start", "find", "read", "watch", "signal", "report", "renew", "claim"];

describeOn(topologies.slice(0, 2), `with a heap of ${heapMb} MB`, (topology) => {
  const count = counts[topologies.indexOf(topology)] ?? 0;
  let scenario: Scenario;
  beforeEach(async () => {
    scenario = await openScenario(topology);
  });
  afterEach(() => scenario.close());

  it("every verb replies within its budget, and a worker with 300 slots completes all runs", async () => {
    const server = await scenario.serve({ heapMb });
    const aiki = await scenario.client(server.url);
    let most = 0;
    const measured = measuredApi(aiki.api, (bytes) => {
      most = Math.max(most, bytes);
    });
    const stage = new Stage(measured);
    const runs = Array.from({ length: count }, () => v7());
    for (let from = 0; from < count; from += 3) {
      const specs = runs
        .slice(from, from + 3)
        .map((id) => ({ id, name: stage.name, versionId: "1.0.0", input: large }));
      await stage.api.start({ runs: specs });
    }
    for (const verb of order) {
      most = 0;
      await proofs[verb]({ stage, runs }).catch((error: unknown) => {
        throw new Error(`${verb} failed. The output of the server:\n${server.process.output}`, { cause: error });
      });
      expect([verb, most < replyMost]).toEqual([verb, true]);
      expect([verb, server.process.isUp]).toEqual([verb, true]);
    }
    const made = worker(aiki, { maxConcurrentWorkflowRuns: 300 });
    const echo = workflow({ name: stage.name });
    made.registry.add(echo.v("1.0.0", { handler: async (_run, input: string) => input }));
    await made.start();
    try {
      for (const runId of runs) {
        const view = await stage.reaches(runId, "completed");
        expect(view.outcome).toEqual({ status: "completed", output: large });
      }
    } finally {
      await made.stop();
    }
  }, 300_000);

  it("retried runs receive the outputs of ended children in replies within the budget", async () => {
    const server = await scenario.serve({ heapMb });
    const aiki = await scenario.client(server.url);
    let most = 0;
    const measured = measuredApi(aiki.api, (bytes) => {
      most = Math.max(most, bytes);
    });
    const made = worker({ ...aiki, api: measured }, { maxConcurrentWorkflowRuns: 300 });
    const child = workflow({ name: `child ${v7()}` });
    const childV1 = child.v("1.0.0", { handler: async (_run, n: number) => `${n} ${text}` });
    const parent = workflow({ name: `parent ${v7()}` });
    const parentV1 = parent.v("1.0.0", {
      retry: { type: "fixed", maxAttempts: 2, delayMs: 10 },
      handler: async (run, n: number) => {
        const started = await Promise.all(childrenOf(n).map((one) => childV1.startAsChild(run, one)));
        const outputs = await Promise.all(started.map((one) => one.result()));
        if (run.attempt === 1) throw new Error("The first attempt fails.");
        return outputs.every((output, at) => output === `${childrenOf(n)[at]} ${text}`);
      },
    });
    made.registry.add(child).add(parent);
    await made.start();
    try {
      const handles = await Promise.all([0, 1, 2, 3].map((n) => parentV1.start(aiki, n)));
      expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual(handles.map(() => true));
    } finally {
      await made.stop();
    }
    expect(most).toBeLessThan(replyMost);
    expect(server.process.isUp).toBe(true);
  }, 300_000);
});

/** The numbers of the four children of a run. */
function childrenOf(n: number): number[] {
  return [0, 1, 2, 3].map((at) => 4 * n + at);
}

function measuredApi(api: Api, note: (bytes: number) => void): Api {
  return wrapApi(api, (_, call) => async (request, options) => {
    const reply = await call(request, options);
    note(Buffer.byteLength(JSON.stringify(reply)));
    return reply;
  });
}
