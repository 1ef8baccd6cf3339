import { AikiError, silentLogger } from "@aikirun/lib";
import type { RenewResult, ReplyOf, RequestOf, TaskTry } from "@aikirun/lib/protocol";
import { type Script, scriptedApi, untilAborted } from "@aikirun/testing/scripted-api";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { instant, Leases } from "./leases.ts";

function setup(renew: NonNullable<Script["renew"]>, heartbeatIntervalMs = 30_000) {
  const env = virtualEnv();
  const scripted = scriptedApi({ renew });
  const leaseMs = 3 * heartbeatIntervalMs;
  const leases = new Leases({
    api: scripted.api,
    env,
    logger: silentLogger,
    leaseMs,
    heartbeatIntervalMs,
  });
  const notified: string[] = [];
  const hold = (runId: string, fence = 1, tries: TaskTry[] = []) =>
    leases.hold({ runId, fence }, instant(env), {
      lost: (code) => notified.push(`${runId} ${code}`),
      pause: () => notified.push(`${runId} pause`),
      tries,
    });
  return { env, leases, hold, notified, ...scripted };
}

const ok: RenewResult = { ok: true, pause: false, inbox: 0 };
const renewed = ({ runs }: RequestOf<"renew">): ReplyOf<"renew"> => ({ results: runs.map(() => ok) });
const unreachable = () => {
  throw new AikiError("UNREACHABLE", "No answer.");
};

describe("leases", () => {
  it("leases are confirmed early, then renewed together each heartbeat", async () => {
    const { env, hold, calls } = setup(renewed);
    for (const id of ["a", "b", "c"]) hold(id);
    await env.advance(2_900);
    expect(calls.renew).toHaveLength(0);
    await env.advance(100);
    expect(calls.renew.map(({ request }) => request.runs.length)).toEqual([3]);
    await env.advance(60_000);
    expect(calls.renew.map(({ request }) => request.runs.length)).toEqual([3, 3, 3]);
    expect(calls.renew[0]?.request).toEqual({
      runs: ["a", "b", "c"].map((runId) => ({ runId, fence: 1 })),
    });
  });

  it("a heartbeat says which tasks a worker executes for a run", async () => {
    const { env, hold, calls } = setup(renewed);
    const tries = [{ task: "charge", address: "task:charge#0", attempt: 3, maxAttempts: 5, runningMs: 12_000 }];
    hold("a", 1, tries);
    hold("b");
    await env.advance(3_000);
    expect(calls.renew[0]?.request.runs).toEqual([
      { runId: "a", fence: 1, tries },
      { runId: "b", fence: 1 },
    ]);
  });

  it("a dormant lease is not renewed before confirm is called", async () => {
    const { env, leases, hold, calls } = setup(renewed);
    hold("a");
    const events = { lost: () => {}, pause: () => {}, tries: [] };
    const dormant = leases.hold({ runId: "b", fence: 1, isDormant: true }, instant(env), events);
    await env.advance(5_000);
    const renewedRuns = () => calls.renew.flatMap(({ request }) => request.runs.map(({ runId }) => runId));
    expect(renewedRuns()).toEqual(["a"]);
    const confirmed = dormant.confirm();
    await env.advance(0);
    expect(await confirmed).toBe(true);
    expect(renewedRuns()).toEqual(["a", "b"]);
    await env.advance(30_000);
    expect(renewedRuns().filter((runId) => runId === "b")).toHaveLength(2);
  });

  it("the lease of a run that ends early is never renewed", async () => {
    const { env, hold, calls } = setup(renewed);
    const lease = hold("a");
    await env.advance(1_000);
    lease.end();
    await env.advance(100_000);
    expect(calls.renew).toHaveLength(0);
  });

  it("a lease allows effects for its length after the last acknowledged renewal was sent", async () => {
    let isUp = true;
    const { env, hold } = setup((request) => (isUp ? renewed(request) : unreachable()), 1_000);
    const lease = hold("a");
    await env.advance(1_000);
    isUp = false;
    await env.advance(2_900);
    expect(lease.isProven).toBe(true);
    await env.advance(200);
    expect(lease.isProven).toBe(false);
  });

  it("an unconfirmed lease is short, even if the lease is long", async () => {
    const { env, hold } = setup(unreachable);
    const lease = hold("a");
    await env.advance(9_900);
    expect(lease.isProven).toBe(true);
    await env.advance(200);
    expect(lease.isProven).toBe(false);
  });

  it("a lease is not proven after the machine slept, and is renewed first", async () => {
    const { env, hold, calls } = setup(renewed);
    let slept = 0;
    const now = env.now;
    env.now = () => now() + slept;
    const lease = hold("a");
    await env.advance(5_000);
    slept = 120_000;
    expect(lease.isProven).toBe(false);
    await env.advance(1);
    expect(lease.isProven).toBe(true);
    expect(calls.renew).toHaveLength(2);
  });

  it("a lease is lost alone if the server refuses its renewal", async () => {
    const { env, hold, notified } = setup(({ runs }) => ({
      results: runs.map(({ runId }) => (runId === "b" ? { ok: false, code: "FENCED", message: "" } : ok)),
    }));
    const [a, b] = [hold("a"), hold("b")];
    await env.advance(3_000);
    expect(notified).toEqual(["b FENCED"]);
    expect([a.isProven, b.isProven]).toEqual([true, true]);
  });

  it("a pause request in a renewal reaches the run", async () => {
    const { env, hold, notified } = setup(({ runs }) => ({ results: runs.map(() => ({ ...ok, pause: true })) }));
    hold("a");
    await env.advance(3_000);
    expect(notified).toEqual(["a pause"]);
  });

  it("a lease is presumed lost after its length without an answer, and not sooner", async () => {
    let isUp = true;
    const { env, hold, notified } = setup((request) => (isUp ? renewed(request) : unreachable()), 1_000);
    hold("a");
    await env.advance(1_000);
    isUp = false;
    await env.advance(2_500);
    expect(notified).toEqual([]);
    await env.advance(2_000);
    expect(notified).toEqual(["a LEASE_LOST"]);
  });

  it("leases survive a server that is unreachable for less than their length", async () => {
    let isUp = true;
    const { env, hold, notified } = setup((request) => (isUp ? renewed(request) : unreachable()), 1_000);
    const lease = hold("a");
    await env.advance(1_000);
    isUp = false;
    await env.advance(2_000);
    isUp = true;
    await env.advance(1_500);
    expect(notified).toEqual([]);
    expect(lease.isProven).toBe(true);
  });

  it("leases are still renewed if one renewal is never answered", async () => {
    let isFirst = true;
    const { env, hold, calls } = setup((request, signal) => {
      if (!isFirst) return renewed(request);
      isFirst = false;
      return new Promise((_, reject) =>
        signal?.addEventListener("abort", () => reject(new AikiError("ABORTED", "Gave up."))),
      );
    }, 1_000);
    const lease = hold("a");
    await env.advance(3_000);
    expect(calls.renew.length).toBeGreaterThan(1);
    expect(lease.isProven).toBe(true);
  });

  it("an unconfirmed lease survives two renewals that are never answered", async () => {
    let calls = 0;
    const { env, hold, notified } = setup((request, signal) => {
      calls += 1;
      return calls <= 2 ? untilAborted(signal) : renewed(request);
    });
    const lease = hold("a");
    await env.advance(12_000);
    expect([lease.isProven, calls, notified]).toEqual([true, 3, []]);
  });

  it("leases survive a server that answers slowly", async () => {
    const { env, hold, notified, calls } = setup(async (request) => {
      await new Promise<void>((resolve) => env.after(3_900, resolve));
      return renewed(request);
    });
    const lease = hold("a");
    await env.advance(20_000);
    expect([lease.isProven, notified]).toEqual([true, []]);
    expect(calls.renew.length).toBeLessThanOrEqual(2);
  });

  it("a lease can be confirmed before its run is executed", async () => {
    const { env, hold } = setup(({ runs }) => ({
      results: runs.map(({ runId }) => (runId === "b" ? { ok: false, code: "FENCED", message: "" } : ok)),
    }));
    const confirmed = Promise.all([hold("a").confirm(), hold("b").confirm()]);
    await env.advance(1);
    expect(await confirmed).toEqual([true, false]);
  });

  it("only the lease of the newest fence of a run is renewed", async () => {
    const { env, hold, calls } = setup(renewed);
    const old = hold("a", 1);
    hold("a", 2);
    old.end();
    await env.advance(3_000);
    expect(calls.renew[0]?.request.runs).toEqual([{ runId: "a", fence: 2 }]);
  });
});
