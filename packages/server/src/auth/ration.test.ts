import { expect, it } from "vitest";
import { rationed } from "./ration.ts";

it("says ten lines a second, and how many it kept to itself", () => {
  const said: unknown[] = [];
  let now = 0;
  const say = rationed({ elapsed: () => now }, (message, fields) => said.push([message, fields]));
  for (let n = 0; n < 25; n++) say("failed", { n });
  expect(said).toHaveLength(10);
  now = 999;
  say("failed", { n: 25 });
  expect(said).toHaveLength(10);
  now = 1_000;
  say("failed", { n: 26 });
  say("failed", { n: 27 });
  expect(said.slice(10)).toEqual([
    ["failed", { n: 26, unsaid: 16 }],
    ["failed", { n: 27 }],
  ]);
});
