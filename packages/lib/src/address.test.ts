import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addressOf,
  arrivalAddress,
  resultAddress,
  retryAddress,
  signalAddress,
  taskNameOf,
  tryAddress,
} from "./address.ts";

describe("addressOf", () => {
  const readable: Array<[[string, string | null, string | null, number], string]> = [
    [["task", "charge-card", "9f2c", 0], "task:charge-card:9f2c#0"],
    [["sleep", null, null, 1], "sleep:#1"],
    [["event", "approved", null, 0], "event:approved#0"],
    [["task", "Größe 大", "a", 12], "task:Größe 大:a#12"],
    [["task", "a:b#c/d%e~f", "", 0], "task:a%3ab%23c%2fd%25e%7ef:%#0"],
    [["task", "\u0000\n\ud800", null, 0], "task:%00%0a%ud800#0"],
  ];
  it.each(readable)("%j has the address %j", (parts, address) => {
    expect(addressOf(...parts)).toBe(address);
  });

  it("two calls never have the same address", () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom("a", ":", "#", "/", "%", "~", "0", "u", "\ud800", "\u0000"), maxLength: 4 }),
      fc.string({ unit: "binary", maxLength: 4 }),
    );
    const part = fc.option(text);
    const call = fc.tuple(text, part, part, fc.nat(2));
    fc.assert(
      fc.property(call, call, (one, other) => {
        expect(addressOf(...one) === addressOf(...other)).toBe(JSON.stringify(one) === JSON.stringify(other));
      }),
      { numRuns: 2_000 },
    );
  });

  it("an address is well-formed, has no control characters, and fits into an index", () => {
    const long = fc.string({ unit: "binary", maxLength: 600 });
    fc.assert(
      fc.property(long, long, (name, content) => {
        const address = addressOf("task", name, content, 7);
        expect(address).not.toMatch(/\p{Surrogate}|\p{Cc}/u);
        expect(Buffer.byteLength(address)).toBeLessThan(2_000);
      }),
    );
  });

  it("long components are distinguished", () => {
    const long = "x".repeat(300);
    expect(addressOf("task", long, null, 0)).not.toBe(addressOf("task", `${long}x`, null, 0));
    expect(addressOf("task", long, null, 0)).toMatch(/^task:~[0-9a-f]{64}#0$/);
  });
});

describe("derived addresses", () => {
  it("derived addresses cannot be mistaken for one another", () => {
    const task = addressOf("task", "a", "b", 0);
    const made = [
      task,
      tryAddress(task, 1),
      retryAddress(task, 1),
      resultAddress(task),
      arrivalAddress("a", "b"),
      arrivalAddress("a:b", ""),
      signalAddress("b"),
    ];
    expect(made.slice(0, 4)).toEqual(["task:a:b#0", "task:a:b#0/1", "task:a:b#0/1/retry", "task:a:b#0/result"]);
    expect(new Set(made).size).toBe(made.length);
  });
});

describe("taskNameOf", () => {
  it.each(["charge-card", "a:b#c/d%e~f", "Größe 大", "\n\u0000", "%u0041"])("the name %j is read back", (name) => {
    for (const address of [addressOf("task", name, "9f2c", 0), addressOf("step", name, null, 3)]) {
      expect(taskNameOf(address)).toBe(name);
      expect(taskNameOf(tryAddress(address, 2))).toBe(name);
    }
  });

  it("a name of which the address has only the hash is other", () => {
    expect(taskNameOf(addressOf("task", "x".repeat(256), "a", 0))).toBe("other");
  });

  it("addresses of other facts have no task", () => {
    const child = addressOf("child", "ship", "a", 0);
    const task = addressOf("task", "charge", "a", 0);
    for (const address of [child, resultAddress(child), retryAddress(task, 1), arrivalAddress("approved", "1")]) {
      expect(taskNameOf(address)).toBeNull();
    }
  });
});
