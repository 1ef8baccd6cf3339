import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";

const locked = z.record(z.string(), z.object({ optionalDependencies: z.record(z.string(), z.string()).optional() }));
const text = readFileSync(join(import.meta.dirname, "..", "package-lock.json"), "utf8");
const packages = z.object({ packages: locked }).parse(JSON.parse(text)).packages;

it("the lock file contains the packages of every platform, which `npm ci` needs", () => {
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !places(path).some((place) => join(place, "node_modules", name) in packages))
      .map((name) => `${path}: ${name}`),
  );
  expect(missing).toEqual([]);
});

it("the lock file contains no download host", () => {
  expect(text).not.toMatch(/"resolved": "http/);
});

/** The folders in which a package finds its dependencies, nearest first. */
function places(path: string): string[] {
  return path === "" || path === "." ? [""] : [path, ...places(dirname(path))];
}
