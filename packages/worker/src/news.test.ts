import { AikiError } from "@aikirun/lib";
import type { WatchResult } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { ending, entry, type Script, scriptedApi } from "../test/scripted-api.ts";
import { virtualEnv } from "../test/virtual-env.ts";
import { type Hearer, news } from "./news.ts";

function setup(watch: NonNullable<Script["watch"]>) {
  const env = virtualEnv();
  const scripted = scriptedApi({ watch });
  const heard = news(scripted.api, env);
  const told: string[] = [];
  const hearer = (runId: string, isListening = false): Hearer & { position: { seen: number; after: number } } => {
    const position = { seen: 0, after: 0 };
    return {
      runId,
      fence: 1,
      position,
      isListening,
      heldAt: env.elapsed(),
      hear(entries, inbox) {
        position.seen = inbox;
        position.after = entries.at(-1)?.seq ?? position.after;
        told.push(`${runId} news ${entries.length}`);
      },
      pause: () => told.push(`${runId} pause`),
      lost: (code) => told.push(`${runId} ${code}`),
    };
  };
  const live = () => scripted.asked.watch.filter(({ signal }) => signal?.aborted === false);
  const sizes = () => scripted.asked.watch.map(({ request }) => request.watched.length);
  return { env, heard, told, hearer, live, sizes, ...scripted };
}

const newsOf = (runId: string, inbox: number, pause = false): WatchResult => ({
  type: "news",
  runId,
  inbox,
  entries: [entry(inbox)],
  pause,
});

describe("news of runs under way", () => {
  it("are asked for at once when a run listens, and for others once they last", async () => {
    const { env, heard, hearer, asked } = setup(ending().watch);
    heard.add(hearer("quiet"));
    heard.add(hearer("listening", true));
    await env.advance(1);
    expect(asked.watch[0]?.request.watched).toEqual([
      { type: "news", runId: "listening", fence: 1, seen: 0, after: 0 },
    ]);
    await env.advance(60);
    expect(asked.watch[1]?.request.watched.map(({ runId }) => runId)).toEqual(["quiet", "listening"]);
  });

  it("cost nothing for runs that end soon", async () => {
    const { env, heard, hearer, asked } = setup(ending().watch);
    const quick = hearer("quick");
    heard.add(quick);
    await env.advance(40);
    heard.remove(quick);
    await env.advance(1_000);
    expect(asked.watch).toEqual([]);
  });

  it("are asked for in one question at a time, at most every 20 ms", async () => {
    const { env, heard, hearer, live, sizes } = setup(ending().watch);
    for (let index = 0; index < 30; index += 1) {
      heard.add(hearer(`run-${index}`, true));
      await env.advance(2);
    }
    await env.advance(100);
    expect(live()).toHaveLength(1);
    expect(sizes().at(-1)).toBe(30);
    expect(sizes().length).toBeLessThanOrEqual(5);
  });

  it("reach the run, which is then watched from where it stands", async () => {
    const server = ending();
    const { env, heard, hearer, told, asked } = setup((request, signal) =>
      asked.watch.length === 1 ? { results: [newsOf("a", 1)] } : server.watch(request, signal),
    );
    heard.add(hearer("a", true));
    await env.advance(30);
    expect(told).toEqual(["a news 1"]);
    expect(asked.watch[1]?.request.watched).toEqual([{ type: "news", runId: "a", fence: 1, seen: 1, after: 1 }]);
  });

  it("bring pauses, without asking again and again about the same one", async () => {
    const { env, heard, hearer, told, asked } = setup(() => ({ results: [newsOf("a", 0, true)] }));
    heard.add(hearer("a", true));
    await env.advance(900);
    expect(told).toContain("a pause");
    expect(asked.watch).toHaveLength(1);
  });

  it("bring losses, after which the run is left alone", async () => {
    const { env, heard, hearer, told, asked } = setup(() => ({
      results: [{ type: "lost", runId: "a", code: "RUN_FINAL", status: "cancelled" }],
    }));
    heard.add(hearer("a", true));
    await env.advance(1_000);
    expect(told).toEqual(["a RUN_FINAL"]);
    expect(asked.watch).toHaveLength(1);
  });

  it.each([
    ["is away", () => Promise.reject(new AikiError("UNREACHABLE", "No answer."))],
    ["answers empty at once", () => Promise.resolve({ results: [] })],
  ])("are asked for again, ever more rarely, while the server %s", async (_, watch) => {
    const { env, heard, hearer, asked } = setup(watch);
    heard.add(hearer("a", true));
    await env.advance(10_000);
    expect(asked.watch.length).toBeGreaterThan(4);
    expect(asked.watch.length).toBeLessThan(15);
  });

  it("are no longer asked for when nothing is under way", async () => {
    const { env, heard, hearer, live } = setup(ending().watch);
    const only = hearer("a", true);
    heard.add(only);
    await env.advance(10);
    expect(live()).toHaveLength(1);
    heard.remove(only);
    expect(live()).toHaveLength(0);
  });
});
