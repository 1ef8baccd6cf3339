import { describe, expect, it } from "vitest";
import { checkName } from "./name.ts";

describe("checkName", () => {
  it.each(["a", "charge:card#1/2", "大きい 😀", "x".repeat(255), "__proto__"])("checkName returns %j", (name) => {
    expect(checkName(name, "task")).toBe(name);
  });

  const bad: Array<[string, unknown, RegExp]> = [
    ["an empty name", "", /name of a task is empty/],
    ["256 characters", "x".repeat(256), /has 256 characters; at most 255/],
    ["NUL", "a\u0000", /NUL/],
    ["half a pair", "a\ud83d", /surrogate/],
    ["a number", 7, /not number/],
    ["nothing", undefined, /not undefined/],
  ];
  it.each(bad)("checkName refuses %s", (_, name, message) => {
    expect(() => Reflect.apply(checkName, undefined, [name, "task"])).toThrow(
      expect.objectContaining({ code: "INVALID_NAME", message: expect.stringMatching(message) }),
    );
  });
});
