import { AikiError } from "@aikirun/lib";
import { scriptedApi, scriptedWatch, untilAborted, viewOf } from "@aikirun/testing/scripted-api";
import { settled, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { Watcher } from "./watcher.ts";

function setup() {
  const env = virtualEnv();
  const runs = scriptedWatch();
  const scripted = scriptedApi({ watch: runs.watch });
  return { env, runs, ...scripted, watch: new Watcher(scripted.api, env) };
}

describe("waiting for runs", () => {
  it("waits that begin in one turn share one request", async () => {
    const { watch, runs, calls } = setup();
    const waits = ["a", "b", "c"].map((id) => watch.wait(id, []));
    await settled();
    expect(calls.watch.map(({ request }) => request.watched.length)).toEqual([3]);
    runs.end("b");
    expect((await waits[1])?.id).toBe("b");
  });

  it("a new wait does not change a pending long poll", async () => {
    const { watch, runs, calls } = setup();
    const first = watch.wait("a", []);
    await settled();
    const second = watch.wait("b", []);
    await settled();
    expect(calls.watch.map(({ request, signal }) => [request.watched.length, signal?.aborted])).toEqual([
      [1, false],
      [1, false],
    ]);
    runs.end("a");
    runs.end("b");
    await Promise.all([first, second]);
  });

  it("the watcher requests the union of the statuses of one run, and settles each wait by its own", async () => {
    const env = virtualEnv();
    const { api, calls } = scriptedApi({
      watch: (_, signal) =>
        calls.watch.length === 1
          ? { results: [{ type: "status", run: viewOf("a", { status: "sleeping" }) }] }
          : untilAborted(signal),
    });
    const watch = new Watcher(api, env);
    const sleeping = watch.wait("a", ["sleeping"]);
    let ended = false;
    void watch.wait("a", []).then(() => {
      ended = true;
    });
    expect((await sleeping).status).toBe("sleeping");
    await settled();
    expect(ended).toBe(false);
    expect(calls.watch.map(({ request }) => request.watched)).toEqual([
      [{ type: "status", runId: "a", statuses: ["sleeping"] }],
      [{ type: "status", runId: "a", statuses: [] }],
    ]);
  });

  it("the watcher registers a bounded number of runs per second when thousands end one by one", async () => {
    const { env, watch, runs, calls } = setup();
    const ids = Array.from({ length: 2_000 }, (_, index) => `run-${index}`);
    const waits = Promise.all(ids.map((id) => watch.wait(id, [])));
    await settled();
    for (const id of ids) {
      runs.end(id);
      await env.advance(0.5);
    }
    await env.advance(1_000);
    await waits;
    const registered = calls.watch.reduce((sum, { request }) => sum + request.watched.length, 0);
    expect(Math.max(...calls.watch.map(({ request }) => request.watched.length))).toBeLessThanOrEqual(1_000);
    expect(registered).toBeLessThan(2_000 + 2_000 + 20 * 1_000 + 2_000);
  });

  it("few long polls are pending when many waits begin one at a time, and no wait is lost", async () => {
    const { env, watch, runs, calls } = setup();
    const ids = Array.from({ length: 60 }, (_, index) => `run-${index}`);
    const waits = [];
    for (const id of ids) {
      waits.push(watch.wait(id, []));
      await env.advance(20);
    }
    expect(calls.watch.filter(({ signal }) => signal?.aborted === false).length).toBeLessThanOrEqual(10);
    for (const id of ids) {
      runs.end(id);
    }
    await env.advance(1_000);
    expect((await Promise.all(waits)).map(({ id }) => id)).toEqual(ids);
  });

  it("waiting for an unknown run rejects", async () => {
    const { watch, runs } = setup();
    runs.setResult("x", { type: "lost", runId: "x", code: "RUN_NOT_FOUND" });
    await expect(watch.wait("x", [])).rejects.toMatchObject({ code: "RUN_NOT_FOUND", ids: { runId: "x" } });
  });

  it("a long poll ends when its last caller aborts", async () => {
    const { watch, calls } = setup();
    const controller = new AbortController();
    const wait = watch.wait("a", [], controller.signal);
    await settled();
    controller.abort();
    await expect(wait).rejects.toMatchObject({ code: "ABORTED" });
    expect(calls.watch[0]?.signal?.aborted).toBe(true);
  });

  it("a fault ends the pending waits, and later waits send a new request", async () => {
    let up = false;
    const { api } = scriptedApi({
      watch: () => {
        if (!up) throw new AikiError("UNREACHABLE", "No answer.");
        return { results: [{ type: "status", run: viewOf("a") }] };
      },
    });
    const watch = new Watcher(api, virtualEnv());
    await expect(watch.wait("a", [])).rejects.toMatchObject({ code: "UNREACHABLE" });
    up = true;
    expect((await watch.wait("a", [])).id).toBe("a");
  });

  it("the watcher pauses between calls when the server answers at once without results", async () => {
    const env = virtualEnv();
    const { api, calls } = scriptedApi({ watch: () => ({ results: [] }) });
    void new Watcher(api, env).wait("a", []);
    await env.advance(2_000);
    expect(calls.watch.length).toBeLessThanOrEqual(11);
  });

  it("close rejects pending and later waits", async () => {
    const { watch } = setup();
    const pending = watch.wait("a", []);
    await settled();
    watch.close(new AikiError("CLIENT_CLOSED", "Closed."));
    await expect(pending).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
    await expect(watch.wait("b", [])).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
  });
});
