import { describe, expect, it } from "vitest";
import { Fields } from "./fields.ts";

const of = (value: unknown): Fields => new Fields(value, "options", "INVALID_OPTION");

describe("fields", () => {
  it("refuses a field that nobody asked for, and names those that may be given", () => {
    const fields = of({ delay: 1, delayMs: 2 });
    fields.take("delay");
    fields.text("referenceId");
    const message = 'options has no field "delayMs". It takes delay, referenceId.';
    const refusal = { code: "INVALID_OPTION", message, ids: { field: "delayMs" } };
    expect(() => fields.done()).toThrow(expect.objectContaining(refusal));
  });

  it("takes a field that is undefined for absent, whatever its name", () => {
    expect(() => of({ misspelt: undefined }).done()).not.toThrow();
    expect(() => of(JSON.parse('{ "__proto__": 1 }')).done()).toThrow('no field "__proto__"');
  });

  it.each([
    [null, "null"],
    [undefined, "nothing"],
    [[], "an array"],
    ["text", '"text"'],
    [5, "5"],
  ])("says what %j is instead of an object", (value, what) => {
    expect(() => of(value)).toThrow(`options must be an object, not ${what}.`);
  });

  it("says what a field is instead of what it must be", () => {
    expect(() => of({ a: {} }).flag("a")).toThrow("options.a must be true or false, not an object.");
    expect(() => of({ a: () => 1 }).text("a")).toThrow("not a function.");
    expect(() => of({ a: Number.NaN }).number("a", { min: 0, max: 1 })).toThrow("not NaN.");
    expect(() => of({ a: 0.5 }).integer("a", { min: 0, max: 1 })).toThrow("a whole number from 0 to 1, not 0.5.");
    expect(() => of({ a: ["x", "x"] }).texts("a", 2)).toThrow("at most 2 different strings");
  });
});
