import { AikiError } from "@aikirun/lib";
import { Fields } from "@aikirun/lib/internal";
import type { MapOptions } from "../definition/run.ts";
import { branchOfMap } from "./identity.ts";
import { beginningOf, type Point, runAt } from "./points.ts";
import type { Replay } from "./replay.ts";
import { uncheckedCast } from "./unchecked-cast.ts";

/** Processes all items, each in its own branch, and resolves with the results in the order of the items. */
export function mapItems<Item, Result>(
  replay: Replay,
  items: Iterable<Item>,
  work: (item: Item, index: number) => Result | PromiseLike<Result>,
  options: MapOptions<Item> = {},
): Promise<Result[]> {
  const where = "options of map";
  const fields = new Fields(options, where, "INVALID_OPTION");
  const concurrency = fields.integer("concurrency", { min: 1, max: 10_000 }) ?? 10_000;
  const { key } = options;
  if (fields.take("key") !== undefined && typeof key !== "function") fields.refuse("key", "a function of the item");
  fields.done();
  const list = [...items];
  const keys = list.map((item, index) => (key === undefined ? String(index) : keyOf(key(item, index))));
  const known = new Set<string>();
  const twice = keys.find((one) => known.size === known.add(one).size);
  if (twice !== undefined) {
    throw new AikiError("INVALID_KEY", `map() got the key ${JSON.stringify(twice)} for two items; each needs its own.`);
  }
  const branch = replay.calls.derive(replay.calls.identify({ kind: "map", name: null, content: null }));
  const { owner } = replay.scheduler.identifier.root;
  const points = keys.map((one) => beginningOf(owner, branchOfMap(branch, one)));
  for (const point of points) replay.calls.beginBranch(point.branch);
  return workOn(list, points, work, concurrency);
}

async function workOn<Item, Result>(
  items: readonly Item[],
  points: readonly Point[],
  work: (item: Item, index: number) => Result | PromiseLike<Result>,
  concurrency: number,
): Promise<Result[]> {
  const results = new Map<number, Result>();
  let next = 0;
  // A failed item stops only its own loop. So timing does not decide which items begin.
  const loop = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const point = points[index];
      if (point === undefined) return;
      results.set(index, await runAt(point, async () => work(uncheckedCast<Item>(items[index]), index)));
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, loop));
  return items.map((_, index) => uncheckedCast<Result>(results.get(index)));
}

function keyOf(key: unknown): string {
  if (typeof key === "string") return key;
  throw new AikiError("INVALID_KEY", `The key of map() must return a string, not ${typeof key}.`);
}
