import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { indented } from "./json-text.ts";

describe("indented", () => {
  it("gives the same text as JSON.stringify, whatever the value and its spaces are", () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(0, 1, 4), (json, spaces) => {
        const value: unknown = JSON.parse(json);
        expect(indented(JSON.stringify(value, null, spaces), 1_000_000)).toBe(JSON.stringify(value, null, 2));
      }),
    );
  });

  it("keeps numbers as they are recorded, and the order and the doubles of keys", () => {
    const text = indented('{"b":12345678901234567890,"a":1.0,"b":-0,"1":"\\u00e9 {,:\\" "}', 1_000);
    expect(text).toBe('{\n  "b": 12345678901234567890,\n  "a": 1.0,\n  "b": -0,\n  "1": "\\u00e9 {,:\\" "\n}');
  });

  it.each([["{id: 1}"], [""], ['{"a":'], ["undefined"]])("leaves the text %j, which is not JSON, as it is", (text) => {
    expect(indented(text, 1_000)).toBe(text);
  });

  it("leaves a text as it is if the indentation would make it too long", () => {
    const deep = "[".repeat(5_000) + "]".repeat(5_000);
    expect(indented(deep, 262_144)).toBe(deep);
    expect(indented("[1]", 7)).toBe("[\n  1\n]");
    expect(indented("[1]", 6)).toBe("[1]");
  });

  it("leaves a text as it is that is nested too deeply to be parsed", () => {
    const deep = "[".repeat(30_000) + "]".repeat(30_000);
    expect(indented(deep, 262_144)).toBe(deep);
  });
});
