import vm from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode, encodeWithin } from "./json.ts";
import { limits } from "./protocol/api.ts";

const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ code, retryable: false, message: expect.stringMatching(message) });

describe("encode", () => {
  it("encode agrees with JSON.stringify on every JSON value, so first runs and replays agree", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const payload = encode(value, "input");
        expect(payload).toBe(JSON.stringify(value));
        expect(encode(decode(payload), "input")).toBe(payload);
      }),
    );
  });

  it("encode accepts what JSON can represent, and refuses any other value", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
    });
    fc.assert(
      fc.property(anything, (value) => {
        try {
          const once = decode(encode(value, "input"));
          expect(decode(encode(once, "input"))).toEqual(once);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "UNSERIALIZABLE" });
        }
      }),
      { numRuns: 500 },
    );
  });

  it("encode treats undefined as absent at the top level, and drops undefined properties", () => {
    expect(encode(undefined, "input")).toBeUndefined();
    expect(decode(undefined)).toBeUndefined();
    expect(encode({ a: undefined, b: 1 }, "input")).toBe('{"b":1}');
  });

  it("encode writes -0 as 0", () => {
    expect(Object.is(decode(encode(-0, "input")), 0)).toBe(true);
  });

  it("__proto__ and constructor are plain keys, and no prototype changes", () => {
    const hostile = '{"__proto__":{"admin":true},"constructor":{"name":"x"},"toJSON":1}';
    const value = decode(hostile);
    expect(encode(value, "input")).toBe(hostile);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect({}).not.toHaveProperty("admin");
  });

  it("lone surrogates and NUL survive encode and decode, in well-formed text", () => {
    const value = { "\ud800": "a\udfffb\u0000" };
    const payload = encode(value, "input") ?? "";
    expect(payload).toBe('{"\\ud800":"a\\udfffb\\u0000"}');
    expect(decode(payload)).toEqual(value);
  });

  it("encode accepts objects without prototype and plain objects of another realm", () => {
    expect(encode(Object.assign(Object.create(null), { a: 1 }), "input")).toBe('{"a":1}');
    expect(encode(vm.runInNewContext("({ a: [1, { b: 2 }] })"), "input")).toBe('{"a":[1,{"b":2}]}');
  });

  it("encode accepts the same object in two places", () => {
    const twin = { a: 1 };
    expect(encode([twin, twin], "input")).toBe('[{"a":1},{"a":1}]');
  });

  class Money {
    cents = 1;
  }
  const cycle: { self?: unknown; list: unknown[] } = { list: [] };
  cycle.list.push({ back: cycle });
  let deep: unknown = 1;
  for (let level = 0; level < 201; level++) deep = [deep];

  const bad: Array<[string, unknown, RegExp]> = [
    ["a BigInt", { order: { items: [0, 1, 2, { price: 1n }] } }, /^input\.order\.items\[3\]\.price is a BigInt/],
    ["a function", { run: () => 1 }, /^input\.run is a function/],
    ["a symbol", [Symbol("x")], /^input\[0\] is a symbol/],
    ["NaN", { n: Number.NaN }, /^input\.n is NaN/],
    ["infinity", Number.NEGATIVE_INFINITY, /^input is -Infinity/],
    ["a Date", { at: new Date(0) }, /^input\.at is a Date; use \.toISOString\(\) or epoch milliseconds/],
    ["a Map", new Map(), /is a Map; use Object\.fromEntries/],
    ["a Set", new Set(), /is a Set/],
    ["an Error", { e: new Error("x") }, /^input\.e is an Error/],
    ["a promise", { p: Promise.resolve(1) }, /await it first/],
    ["bytes", { b: new Uint8Array(2) }, /is binary/],
    ["a Buffer, for all its toJSON", Buffer.from("x"), /is binary/],
    ["a class instance", { total: new Money() }, /^input\.total is an instance of Money/],
    ["a class instance of another realm", vm.runInNewContext("new (class Foo { a = 1 })()"), /instance of Foo/],
    ["a boxed primitive", [Object("x")], /instance of String/],
    ["a RegExp", /x/, /instance of RegExp/],
    ["an object with toJSON", { a: { toJSON: () => 1 } }, /^input\.a is not a plain object/],
    ["a list with toJSON", { a: Object.assign([], { toJSON: () => 1 }) }, /^input\.a is /],
    ["a hole", { list: new Array(2) }, /^input\.list\[0\] is undefined.*use null/],
    ["undefined in a list", [1, undefined], /^input\[1\] is undefined/],
    ["symbol keys", { a: { [Symbol("s")]: 1 } }, /^input\.a has symbol keys/],
    ["a cycle", cycle, /^input\.list\[0\]\.back is a cycle: it is the value 3 levels above itself/],
    ["201 levels", deep, /nested more than 200 levels/],
    ["a key that needs quotes", { "a b": { "1": 1n } }, /^input\["a b"\]\["1"\] is a BigInt/],
    ["a revoked proxy", revoked(), /^input throws when it is read/],
  ];
  it.each(bad)("encode refuses %s", (_, value, message) => {
    expect(() => encode(value, "input")).toThrow(refused("UNSERIALIZABLE", message));
  });

  it("an error that a getter threw becomes the cause", () => {
    const thrown = new Error("no");
    const value = {
      get a() {
        throw thrown;
      },
    };
    expect(() => encode(value, "input")).toThrow(expect.objectContaining({ code: "UNSERIALIZABLE", cause: thrown }));
  });

  it("encode accepts 200 levels", () => {
    let value: unknown = 1;
    for (let level = 0; level < 200; level++) value = { a: value };
    expect(decode(encode(value, "input"))).toEqual(value);
  });

  it("the limit is measured in bytes of UTF-8, exactly", () => {
    const euros = (limits.payloadBytes - 2) / 3;
    const exact = "€".repeat(euros);
    expect(encode(exact, "input")).toHaveLength(euros + 2);
    expect(() => encode(`${exact}x`, "output of task")).toThrow(
      refused("PAYLOAD_TOO_LARGE", /^output of task is 2000001 bytes of JSON; the limit is 2000000 bytes/),
    );
    expect(encode("x".repeat(limits.payloadBytes - 2), "input")).toHaveLength(limits.payloadBytes);
  });

  it("encode accepts an object whose key makes it exactly as large as the limit", () => {
    const key = "k".repeat(limits.payloadBytes - '{"":1}'.length);
    expect(encode({ [key]: 1 }, "input")).toHaveLength(limits.payloadBytes);
  });

  it("shared objects that unfold without end are refused before they unfold", () => {
    let value: unknown = "x";
    for (let level = 0; level < 60; level++) value = [value, value];
    expect(() => encode(value, "input")).toThrow(refused("PAYLOAD_TOO_LARGE", /more than 2000000 bytes/));
  });
});

describe("decode", () => {
  it("decode throws a clear error if the text is not JSON", () => {
    expect(() => decode("{")).toThrow(refused("INVALID_PAYLOAD", /not JSON/));
  });
});

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

describe("encodeWithin", () => {
  it("encodeWithin returns what encode returns, or nothing if that is too long or refused", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat({ max: 60 }), (value, most) => {
        const text = encode(value, "field") ?? "";
        expect(encodeWithin(value, most)).toBe(text.length <= most ? text : undefined);
      }),
    );
    for (const value of [undefined, 1n, new Date(), new Map(), () => 1, Number.NaN]) {
      expect(encodeWithin(value, 100)).toBeUndefined();
    }
  });

  it("encodeWithin never throws, and stops writing what is far too large", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    expect(encodeWithin({ proxy }, 100)).toBeUndefined();
    const shared = Array.from({ length: 100 }, () => null);
    let unfolded: unknown = shared;
    for (let level = 0; level < 20; level++) unfolded = Array(100).fill(unfolded);
    expect(encodeWithin(unfolded, 1_000)).toBeUndefined();
  });
});
