import type { Env } from "@aikirun/lib";
import { settled, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { growth } from "../../test/growth.ts";
import { adaptivePolling, polling } from "./polling.ts";
import type { Answer, Subscriber } from "./subscriber.ts";

/** Pauses pass at once, and are remembered. */
function hasty(): { env: Env; pauses: number[] } {
  const pauses: number[] = [];
  const after: Env["after"] = (ms, then) => {
    pauses.push(ms);
    queueMicrotask(then);
    return () => {};
  };
  return { env: { ...virtualEnv(), after }, pauses };
}

async function ask(subscriber: Subscriber, answer: Answer): Promise<void> {
  const question = await subscriber.next(1, new AbortController().signal);
  question.settled?.(answer);
}

const answered = (runs: number, heldMs: number): Answer => ({ type: "answered", asked: 1, runs, heldMs });

describe("adaptive polling", () => {
  it("makes no pause after runs, after a question that the server held, or after a fault", async () => {
    const { env, pauses } = hasty();
    const subscriber = adaptivePolling(growth, env);
    await ask(subscriber, answered(3, 1));
    await ask(subscriber, answered(0, 25_000));
    await ask(subscriber, { type: "failed", error: new Error("no") });
    await ask(subscriber, { type: "unasked" });
    expect(pauses).toEqual([]);
  });

  it("grows its pauses after empty answers past the threshold, and starts over after runs", async () => {
    const { env, pauses } = hasty();
    const subscriber = adaptivePolling(growth, env);
    for (let turn = 0; turn < 13; turn += 1) await ask(subscriber, answered(0, 1));
    expect(pauses.slice(0, 6)).toEqual([45, 45, 45, 90, 180, 360]);
    expect(pauses.at(-1)).toBe(4_500);
    await ask(subscriber, answered(1, 1));
    await ask(subscriber, answered(0, 1));
    await ask(subscriber, answered(0, 1));
    expect(pauses.at(-1)).toBe(45);
  });
});

describe("polling", () => {
  it("makes a pause only while there is nothing to do, and lets the server hold nothing", async () => {
    const { env, pauses } = hasty();
    const subscriber = polling({ intervalMs: 500 }, env);
    await ask(subscriber, answered(1, 0));
    await ask(subscriber, answered(0, 0));
    expect(pauses).toEqual([]);
    expect(await subscriber.next(1, new AbortController().signal)).toMatchObject({ waitMs: 0 });
    expect(pauses).toEqual([500]);
  });

  it("asks at once when something else is served", async () => {
    const env = virtualEnv();
    const subscriber = polling({ intervalMs: 500 }, env);
    await ask(subscriber, answered(0, 0));
    const changed = new AbortController();
    let isAsked = false;
    void subscriber.next(1, changed.signal).then(() => {
      isAsked = true;
    });
    await settled();
    expect(isAsked).toBe(false);
    changed.abort();
    await settled();
    expect(isAsked).toBe(true);
  });
});
