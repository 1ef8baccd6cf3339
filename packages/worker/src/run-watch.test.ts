import { AikiError } from "@aikirun/lib";
import type { WatchResult } from "@aikirun/lib/protocol";
import { entry, type Script, scriptedApi, scriptedWatch } from "@aikirun/testing/scripted-api";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { RunWatch, type WatchedRun } from "./run-watch.ts";

function setup(answer: NonNullable<Script["watch"]>) {
  const env = virtualEnv();
  const scripted = scriptedApi({ watch: answer });
  const watch = new RunWatch(scripted.api, env);
  const notified: string[] = [];
  const run = (runId: string, isListening = false): WatchedRun & { position: { seen: number; after: number } } => {
    const position = { seen: 0, after: 0 };
    return {
      runId,
      fence: 1,
      position,
      isListening,
      startedAt: env.elapsed(),
      receive(entries, inbox) {
        position.seen = inbox;
        position.after = entries.at(-1)?.seq ?? position.after;
        notified.push(`${runId} entries ${entries.length}`);
      },
      pause: () => notified.push(`${runId} pause`),
      lost: (code) => notified.push(`${runId} ${code}`),
    };
  };
  const live = () => scripted.calls.watch.filter(({ signal }) => signal?.aborted === false);
  const sizes = () => scripted.calls.watch.map(({ request }) => request.watched.length);
  return { env, watch, notified, run, live, sizes, ...scripted };
}

const changesOf = (runId: string, inbox: number, pause = false): WatchResult => ({
  type: "changes",
  runId,
  inbox,
  entries: [entry(inbox)],
  pause,
});

describe("a run watch", () => {
  it("the run watch watches a listening run at once, and other runs after a delay", async () => {
    const { env, watch, run, calls } = setup(scriptedWatch().watch);
    watch.add(run("quiet"));
    watch.add(run("listening", true));
    await env.advance(1);
    expect(calls.watch[0]?.request.watched).toEqual([
      { type: "changes", runId: "listening", fence: 1, seen: 0, after: 0 },
    ]);
    await env.advance(60);
    expect(calls.watch[1]?.request.watched.map(({ runId }) => runId)).toEqual(["quiet", "listening"]);
  });

  it("the run watch sends no request for runs that end soon", async () => {
    const { env, watch, run, calls } = setup(scriptedWatch().watch);
    const quick = run("quick");
    watch.add(quick);
    await env.advance(40);
    watch.remove(quick);
    await env.advance(1_000);
    expect(calls.watch).toEqual([]);
  });

  it("the run watch sends one request at a time, at most every 20 ms", async () => {
    const { env, watch, run, live, sizes } = setup(scriptedWatch().watch);
    for (let index = 0; index < 30; index += 1) {
      watch.add(run(`run-${index}`, true));
      await env.advance(2);
    }
    await env.advance(100);
    expect(live()).toHaveLength(1);
    expect(sizes().at(-1)).toBe(30);
    expect(sizes().length).toBeLessThanOrEqual(5);
  });

  it("the run watch passes entries to the run, and watches it from its new position", async () => {
    const server = scriptedWatch();
    const { env, watch, run, notified, calls } = setup((request, signal) =>
      calls.watch.length === 1 ? { results: [changesOf("a", 1)] } : server.watch(request, signal),
    );
    watch.add(run("a", true));
    await env.advance(30);
    expect(notified).toEqual(["a entries 1"]);
    expect(calls.watch[1]?.request.watched).toEqual([{ type: "changes", runId: "a", fence: 1, seen: 1, after: 1 }]);
  });

  it("the run watch passes on a pause request, and stops requesting the run while it is being paused", async () => {
    const { env, watch, run, notified, calls } = setup(() => ({ results: [changesOf("a", 0, true)] }));
    watch.add(run("a", true));
    await env.advance(900);
    expect(notified).toContain("a pause");
    expect(calls.watch).toHaveLength(1);
  });

  it("the run watch passes on a loss, and stops watching the run", async () => {
    const { env, watch, run, notified, calls } = setup(() => ({
      results: [{ type: "lost", runId: "a", code: "RUN_FINAL", status: "cancelled" }],
    }));
    watch.add(run("a", true));
    await env.advance(1_000);
    expect(notified).toEqual(["a RUN_FINAL"]);
    expect(calls.watch).toHaveLength(1);
  });

  it.each([
    ["is unreachable", () => Promise.reject(new AikiError("UNREACHABLE", "No answer."))],
    ["answers at once without results", () => Promise.resolve({ results: [] })],
  ])("the run watch repeats its request after growing pauses while the server %s", async (_, answer) => {
    const { env, watch, run, calls } = setup(answer);
    watch.add(run("a", true));
    await env.advance(10_000);
    expect(calls.watch.length).toBeGreaterThan(4);
    expect(calls.watch.length).toBeLessThan(15);
  });

  it("the run watch aborts its request when no run is left", async () => {
    const { env, watch, run, live } = setup(scriptedWatch().watch);
    const only = run("a", true);
    watch.add(only);
    await env.advance(10);
    expect(live()).toHaveLength(1);
    watch.remove(only);
    expect(live()).toHaveLength(0);
  });
});
