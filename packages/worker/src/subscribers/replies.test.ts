import { expect, it } from "vitest";
import { consumersOf, cursorOf, wakeUpsClaimed, wakeUpsRead } from "./replies.ts";

it.each([
  ["nothing", null, []],
  [
    "entries of several streams",
    [
      ["a", [["1-0", ["run", "x"]]]],
      [
        "b",
        [
          ["2-0", []],
          ["3-0", ["junk"]],
        ],
      ],
    ],
    ["a 1-0", "b 2-0", "b 3-0"],
  ],
  ["entries that were deleted while they were pending", [["a", [["1-0", null]]]], ["a 1-0"]],
  ["another shape", { a: 1 }, []],
])("wake-ups are read from an XREADGROUP reply with %s", (_, reply, wakeUps) => {
  expect(wakeUpsRead(reply).map(({ stream, id }) => `${stream} ${id}`)).toEqual(wakeUps);
});

it.each([
  ["6.2", ["0-0", ["1-0", "2-0"]], "0-0", ["1-0", "2-0"]],
  ["7, which adds the deleted", ["3-0", ["1-0"], ["2-0"]], "3-0", ["1-0"]],
  ["an unknown shape", "OK", "0-0", []],
])("wake-ups are read from an XAUTOCLAIM reply of Redis %s", (_, reply, cursor, ids) => {
  expect([cursorOf(reply), wakeUpsClaimed("a", reply).map(({ id }) => id)]).toEqual([cursor, ids]);
});

it.each([
  ["6.2", ["name", "s", "pending", 2, "idle", 500]],
  ["7.2, which adds a field", ["name", "s", "pending", 2, "idle", 500, "inactive", -1]],
])("consumers are read from an XINFO CONSUMERS reply of Redis %s", (_, fields) => {
  expect(consumersOf([fields, ["name", "t"]])).toEqual([{ name: "s", pending: 2, idleMs: 500 }]);
});
