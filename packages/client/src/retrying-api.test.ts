import { AikiError } from "@aikirun/lib";
import { scriptedApi } from "@aikirun/testing/scripted-api";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { retryingApi } from "./retrying-api.ts";
import { ServerBusy } from "./transient.ts";

const unreachable = () => new AikiError("UNREACHABLE", "No answer.");
const open = new AbortController().signal;

describe("a call to an unreachable server", () => {
  it("a call to an unreachable server is repeated with the same request until it is answered", async () => {
    const env = virtualEnv();
    let failures = 3;
    const { api, calls } = scriptedApi({
      signal: () => {
        failures -= 1;
        if (failures >= 0) throw unreachable();
        return { results: [] };
      },
    });
    const reply = retryingApi(api, env, open).signal({
      signals: [{ signalId: "s", runId: "r", signal: { type: "pause" } }],
    });
    await env.advance(5_000);
    expect(await reply).toEqual({ results: [] });
    expect(calls.signal).toHaveLength(4);
    expect(new Set(calls.signal.map(({ request }) => JSON.stringify(request))).size).toBe(1);
  });

  it("a call to an unreachable server fails after about 10 s", async () => {
    const env = virtualEnv();
    const { api } = scriptedApi({
      find: () => {
        throw unreachable();
      },
    });
    const began = env.elapsed();
    const ended = retryingApi(api, env, open)
      .find({})
      .catch((error: unknown) => {
        expect(error).toMatchObject({ code: "UNREACHABLE" });
        return env.elapsed() - began;
      });
    await env.advance(60_000);
    expect(await ended).toBeGreaterThan(7_000);
    expect(await ended).toBeLessThanOrEqual(10_000);
  });

  it("a busy server is not called during the pause that it requested", async () => {
    const env = virtualEnv();
    const at: number[] = [];
    const { api } = scriptedApi({
      find: () => {
        at.push(env.elapsed());
        if (at.length === 1) throw new ServerBusy("UNAVAILABLE", "Busy.", {}, 4_000);
        return { runs: [] };
      },
    });
    const reply = retryingApi(api, env, open).find({});
    await env.advance(5_000);
    await reply;
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBe(4_000);
  });

  it("a call is tried once more if its pause took longer than planned, as on a machine that slept", async () => {
    const env = virtualEnv();
    let wakes = false;
    const slept: typeof env = { ...env, elapsed: () => env.elapsed() + (wakes ? 3_600_000 : 0) };
    const after: typeof env.after = (delayMs, then) =>
      env.after(delayMs, () => {
        wakes = true;
        then();
      });
    const { api, calls } = scriptedApi({
      find: () => {
        if (calls.find.length > 1) return { runs: [] };
        throw unreachable();
      },
    });
    const reply = retryingApi(api, { ...slept, after }, open).find({});
    await env.advance(5_000);
    expect(await reply).toEqual({ runs: [] });
  });

  it.each(["UNAUTHORIZED", "BAD_REQUEST", "ABORTED", "BAD_REPLY"] as const)(
    "a call is not repeated on %s",
    async (code) => {
      const { api, calls } = scriptedApi({
        find: () => {
          throw new AikiError(code, "No.");
        },
      });
      await expect(retryingApi(api, virtualEnv(), open).find({})).rejects.toMatchObject({ code });
      expect(calls.find).toHaveLength(1);
    },
  );

  it("a call is no longer repeated after the client is closed", async () => {
    const env = virtualEnv();
    const { api } = scriptedApi({
      find: () => {
        throw unreachable();
      },
    });
    const closed = new AbortController();
    const reply = retryingApi(api, env, closed.signal).find({});
    closed.abort(new AikiError("CLIENT_CLOSED", "Closed."));
    await expect(reply).rejects.toMatchObject({ code: expect.stringMatching(/UNREACHABLE|CLIENT_CLOSED/) });
  });
});
