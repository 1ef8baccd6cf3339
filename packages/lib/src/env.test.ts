import { afterEach, describe, expect, it, vi } from "vitest";
import { systemEnv } from "./env.ts";

const env = systemEnv({ id: () => "id-1" });

afterEach(() => {
  vi.useRealTimers();
});

describe("systemEnv", () => {
  it("fires a timer longer than setTimeout can hold once, and not early", () => {
    vi.useFakeTimers();
    let fired = 0;
    const thirtyDays = 30 * 86_400_000;
    env.after(thirtyDays, () => fired++);
    vi.advanceTimersByTime(thirtyDays - 1);
    expect(fired).toBe(0);
    vi.advanceTimersByTime(1);
    expect(fired).toBe(1);
    vi.advanceTimersByTime(thirtyDays * 3);
    expect(fired).toBe(1);
  });

  it("cancels a timer, armed again or not", () => {
    vi.useFakeTimers();
    let fired = 0;
    const cancelShort = env.after(10, () => fired++);
    const cancelLong = env.after(60 * 86_400_000, () => fired++);
    cancelShort();
    vi.advanceTimersByTime(30 * 86_400_000);
    cancelLong();
    vi.advanceTimersByTime(90 * 86_400_000);
    expect(fired).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("fires at once for a delay that has passed", () => {
    vi.useFakeTimers();
    let fired = 0;
    env.after(-5, () => fired++);
    vi.advanceTimersByTime(1);
    expect(fired).toBe(1);
  });

  it("does not keep the process alive for a timer", () => {
    const holding = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = holding();
    const cancel = env.after(60_000, () => {});
    expect(holding()).toBe(before);
    cancel();
  });

  it("calls soon only when every pending microtask has run", async () => {
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      env.soon(() => {
        order.push("soon");
        resolve();
      });
      let chain = Promise.resolve();
      for (let link = 0; link < 100; link++) chain = chain.then(() => {});
      chain.then(() => order.push("microtasks"));
    });
    expect(order).toEqual(["microtasks", "soon"]);
  });

  it("makes ids by the maker it was given", () => {
    expect(env.id()).toBe("id-1");
  });
});
