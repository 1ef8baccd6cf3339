import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { Quarantine } from "./quarantine.ts";

function quarantined(maxMs: number, names: string[]) {
  const env = virtualEnv();
  const quarantine = new Quarantine(env, maxMs);
  const begun: string[] = [];
  const stays = new Map(names.map((name) => [name, quarantine.enter()]));
  for (const [name, { mayBegin }] of stays) void mayBegin.then(() => begun.push(name));
  return { env, begun, end: (name: string) => stays.get(name)?.end() };
}

describe("runs in quarantine", () => {
  it("runs in quarantine begin one at a time, each when the one before has left", async () => {
    const { env, begun, end } = quarantined(1_000, ["a", "b", "c"]);
    await env.advance(10);
    expect(begun).toEqual(["a"]);
    end("a");
    await env.advance(10);
    expect(begun).toEqual(["a", "b"]);
    end("b");
    await env.advance(10);
    expect(begun).toEqual(["a", "b", "c"]);
  });

  it("runs in quarantine wait at most for the limit if a run does not report", async () => {
    const { env, begun } = quarantined(1_000, ["a", "b", "c"]);
    await env.advance(999);
    expect(begun).toEqual(["a"]);
    await env.advance(1);
    expect(begun).toEqual(["a", "b"]);
    await env.advance(1_000);
    expect(begun).toEqual(["a", "b", "c"]);
  });

  it("runs in quarantine do not wait for a run that left before it began", async () => {
    const { env, begun, end } = quarantined(1_000, ["a", "b", "c"]);
    end("b");
    end("a");
    await env.advance(10);
    expect(begun).toEqual(["a", "b", "c"]);
  });
});
