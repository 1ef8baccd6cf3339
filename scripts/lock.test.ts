import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";

const locked = z.record(z.string(), z.object({ optionalDependencies: z.record(z.string(), z.string()).optional() }));
const text = readFileSync(join(import.meta.dirname, "..", "package-lock.json"), "utf8");
const packages = z.object({ packages: locked }).parse(JSON.parse(text)).packages;

it("the lock names the packages of every platform, without which `npm ci` refuses to begin", () => {
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !places(path).some((place) => join(place, "node_modules", name) in packages))
      .map((name) => `${path}: ${name}`),
  );
  expect(missing).toEqual([]);
});

it("the lock names no host to download from", () => {
  expect(text).not.toMatch(/"resolved": "http/);
});

/** Where a package looks for what it depends on, nearest first. */
function places(path: string): string[] {
  return path === "" || path === "." ? [""] : [path, ...places(dirname(path))];
}
