import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashPayload } from "./hash.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** The same value with the keys of every object in reverse order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, reversed(item)]),
  );
}

describe("hashPayload", () => {
  it("hashPayload is the SHA-256 of the RFC 8785 form of any well-formed value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "grapheme" }), (value) => {
        expect(hashPayload(JSON.stringify(value))).toBe(
          sha256(String(canonicalize(JSON.parse(JSON.stringify(value))))),
        );
      }),
    );
  });

  it("a hash does not depend on the order of keys", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        expect(hashPayload(JSON.stringify(reversed(value)))).toBe(hashPayload(JSON.stringify(value)));
      }),
    );
  });

  it("a hash does not depend on how the same value is written", () => {
    expect(hashPayload(' {"b" : 1.0e2, "a":"\\u0041\\/"} ')).toBe(hashPayload('{"a":"A/","b":100}'));
    expect(hashPayload("-0")).toBe(hashPayload("0"));
    expect(hashPayload('"\\ud83d\\ude00"')).toBe(hashPayload('"😀"'));
  });

  it("hashes differ by type, order of items, and prototype keys", () => {
    const different = [
      "null",
      "0",
      '"0"',
      "false",
      '""',
      "[]",
      "{}",
      "[1,2]",
      "[2,1]",
      '{"__proto__":{}}',
      '{"a":null}',
    ];
    const hashes = [hashPayload(undefined), ...different.map((payload) => hashPayload(payload))];
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it("hashes distinguish lone surrogates, their replacement character, and their escaped form", () => {
    const different = [
      '"\\ud800"',
      '"\\ud801"',
      '"\\udc00"',
      '"\ufffd"',
      '"\\\\ud800"',
      '"\ue000d800"',
      '"\\ud800\ue000"',
      '"\\ud800\ue000e000"',
      '"\\ud800\\ud801"',
      '"\\ud800\ue000d801"',
      '{"\\ud800":1}',
      '{"\ue000d800":1}',
      '["\\ud800"]',
    ];
    expect(new Set(different.map((payload) => hashPayload(payload))).size).toBe(different.length);
  });

  it("a lone surrogate is recognised however the text writes it", () => {
    expect(hashPayload('{"a":["\ud800"]}')).toBe(hashPayload('{"a":["\\uD800"]}'));
  });

  it("hashPayload throws a clear error if the text is not JSON", () => {
    expect(() => hashPayload("nul")).toThrow(expect.objectContaining({ code: "INVALID_PAYLOAD" }));
  });
});
