/** The place of a call in user code: the first line of the stack outside of these packages. */

const here = new URL("..", import.meta.url).pathname;
const ours = [here, "/@aikirun/", "/packages/task/src/", "/packages/task/dist/", "node:internal"];

export function placeOf(error: Error | null | undefined): string {
  const lines = error?.stack?.split("\n").slice(1) ?? [];
  const line = lines.find((text) => text.includes(":") && !ours.some((part) => text.includes(part)));
  return line === undefined ? "an unknown place" : line.trim().replace(/^at /, "").slice(0, 300);
}
