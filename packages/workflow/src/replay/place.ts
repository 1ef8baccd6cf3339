/** Where user code called: the first line of a stack that is not of these packages. */

const here = new URL("..", import.meta.url).pathname;
const ours = [here, "/@aikirun/", "/packages/task/src/", "/packages/task/dist/", "node:internal"];

export function placeOf(error: Error | null | undefined): string {
  const lines = error?.stack?.split("\n").slice(1) ?? [];
  const line = lines.find((text) => text.includes(":") && !ours.some((part) => text.includes(part)));
  return line === undefined ? "an unknown place" : line.trim().replace(/^at /, "").slice(0, 300);
}
