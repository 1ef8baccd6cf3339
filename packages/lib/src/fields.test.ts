import { describe, expect, it } from "vitest";
import { Fields } from "./fields.ts";

const of = (value: unknown): Fields => new Fields(value, "options", "INVALID_OPTION");

describe("fields", () => {
  it("an unknown field is refused, and the error names the known ones", () => {
    const fields = of({ delay: 1, delayMs: 2 });
    fields.take("delay");
    fields.text("referenceId");
    const message = 'options has no field "delayMs". It takes delay, referenceId.';
    const refusal = { code: "INVALID_OPTION", message, ids: { field: "delayMs" } };
    expect(() => fields.done()).toThrow(expect.objectContaining(refusal));
  });

  it("a field that is undefined counts as absent, whatever its name", () => {
    expect(() => of({ misspelt: undefined }).done()).not.toThrow();
    expect(() => of(JSON.parse('{ "__proto__": 1 }')).done()).toThrow('no field "__proto__"');
  });

  it.each([
    [null, "null"],
    [undefined, "nothing"],
    [[], "an array"],
    ["text", '"text"'],
    [5, "5"],
  ])("the error names the type of %j, which is no object", (value, what) => {
    expect(() => of(value)).toThrow(`options must be an object, not ${what}.`);
  });

  it("the error says what a field is and what it must be", () => {
    expect(() => of({ a: {} }).flag("a")).toThrow("options.a must be true or false, not an object.");
    expect(() => of({ a: () => 1 }).text("a")).toThrow("not a function.");
    expect(() => of({ a: Number.NaN }).number("a", { min: 0, max: 1 })).toThrow("not NaN.");
    expect(() => of({ a: 0.5 }).integer("a", { min: 0, max: 1 })).toThrow("a whole number from 0 to 1, not 0.5.");
    expect(() => of({ a: ["x", "x"] }).texts("a", 2)).toThrow("at most 2 different strings");
  });

  it.each([
    ["NUL", "a\u0000b"],
    ["the first half of a surrogate pair", "👍".slice(0, 1)],
    ["the second half of a surrogate pair", "👍".slice(1)],
    ["nothing", ""],
    ["256 characters", "x".repeat(256)],
  ])("a text that storage uses as a key is refused if it has %s, alone and in an array", (_, text) => {
    const sentence = "1 to 255 characters, without NUL or half of a surrogate pair, not";
    expect(() => of({ a: text }).text("a")).toThrow(`options.a must be a string of ${sentence}`);
    expect(() => of({ a: ["b", text] }).texts("a", 2)).toThrow(
      `options.a must be an array of at most 2 different strings of ${sentence} an array.`,
    );
  });

  it("whole surrogate pairs, and any text that only people read, are accepted", () => {
    expect(of({ a: "👍" }).text("a")).toBe("👍");
    expect(of({ a: ["👍"] }).texts("a", 1)).toEqual(["👍"]);
    expect(of({ a: "\0\ud800" }).prose("a", 2)).toBe("\0\ud800");
    expect(() => of({ a: "abc" }).prose("a", 2)).toThrow("options.a must be a string of at most 2 characters");
  });

  it("an array with a hole is refused, because JSON would fill the hole with null", () => {
    const holed = ["a", "b"];
    delete holed[0];
    expect(() => of({ a: holed }).texts("a", 2)).toThrow("different strings");
  });

  it("every moment in whole milliseconds that a Date can represent is accepted, and no other", () => {
    expect(of({ a: new Date(-8.64e15) }).moment("a")).toBe(-8.64e15);
    expect(of({ a: 8.64e15 }).moment("a")).toBe(8.64e15);
    expect(of({ a: 0.6 }).moment("a")).toBe(1);
    expect(of({ a: -0 }).moment("a")).toBe(0);
    for (const a of [
      8.64e15 + 1,
      -8.64e15 - 1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      new Date("never"),
      "2026-01-01",
    ]) {
      expect(() => of({ a }).moment("a")).toThrow("a valid Date, or epoch milliseconds that a Date can hold");
    }
  });

  it("a delay until a moment that has passed is no delay", () => {
    expect(of({ a: { milliseconds: -5 } }).delay("a")).toBe(0);
    expect(of({ a: { seconds: 5 } }).delay("a")).toBe(5_000);
    expect(() => of({ a: { milliseconds: -5 } }).duration("a")).toThrow("zero or more");
    expect(() => of({ a: 5 }).delay("a")).toThrow("options.a must be a duration");
  });
});
