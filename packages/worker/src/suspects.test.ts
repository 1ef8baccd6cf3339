import { describe, expect, it } from "vitest";
import { virtualEnv } from "../test/virtual-env.ts";
import { suspects } from "./suspects.ts";

function line(patienceMs: number, names: string[]) {
  const env = virtualEnv();
  const next = suspects(env, patienceMs);
  const begun: string[] = [];
  const turns = new Map(names.map((name) => [name, next()]));
  for (const [name, { come }] of turns) void come.then(() => begun.push(name));
  return { env, begun, end: (name: string) => turns.get(name)?.end() };
}

describe("suspects", () => {
  it("begin one after the other, each when the one before has ended its turn", async () => {
    const { env, begun, end } = line(1_000, ["a", "b", "c"]);
    await env.advance(10);
    expect(begun).toEqual(["a"]);
    end("a");
    await env.advance(10);
    expect(begun).toEqual(["a", "b"]);
    end("b");
    await env.advance(10);
    expect(begun).toEqual(["a", "b", "c"]);
  });

  it("wait no longer than their patience for one that does not report", async () => {
    const { env, begun } = line(1_000, ["a", "b", "c"]);
    await env.advance(999);
    expect(begun).toEqual(["a"]);
    await env.advance(1);
    expect(begun).toEqual(["a", "b"]);
    await env.advance(1_000);
    expect(begun).toEqual(["a", "b", "c"]);
  });

  it("do not wait for one that left the line before its turn", async () => {
    const { env, begun, end } = line(1_000, ["a", "b", "c"]);
    end("b");
    end("a");
    await env.advance(10);
    expect(begun).toEqual(["a", "b", "c"]);
  });
});
