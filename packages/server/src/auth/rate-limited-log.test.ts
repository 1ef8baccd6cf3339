import { expect, it } from "vitest";
import { rateLimitedLog } from "./rate-limited-log.ts";

it("a rate-limited log writes ten lines a second, and the next line counts the omitted ones", () => {
  const logged: unknown[] = [];
  let now = 0;
  const log = rateLimitedLog({ elapsed: () => now }, (message, fields) => logged.push([message, fields]));
  for (let n = 0; n < 25; n++) log("failed", { n });
  expect(logged).toHaveLength(10);
  now = 999;
  log("failed", { n: 25 });
  expect(logged).toHaveLength(10);
  now = 1_000;
  log("failed", { n: 26 });
  log("failed", { n: 27 });
  expect(logged.slice(10)).toEqual([
    ["failed", { n: 26, suppressed: 16 }],
    ["failed", { n: 27 }],
  ]);
});
