/** `.dockerignore`: what a build gets to see. The last pattern that fits a path, or a folder above it, decides. */

/** Whether a path, relative to the root, is left out. */
export function ignoreOf(text: string): (path: string) => boolean {
  const rules = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({ isKept: line.startsWith("!"), pattern: patternOf(line.replace(/^!/, "")) }));
  return (path) => {
    const above = path.split("/").map((_, at, parts) => parts.slice(0, at + 1).join("/"));
    const fits = (pattern: RegExp): boolean => above.some((one) => pattern.test(one));
    const rule = rules.findLast(({ pattern }) => fits(pattern));
    return rule !== undefined && !rule.isKept;
  };
}

function patternOf(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*\*\/|\*/g, (star) => (star === "*" ? "[^/]*" : "(?:.*/)?"));
  return new RegExp(`^${source}$`);
}
