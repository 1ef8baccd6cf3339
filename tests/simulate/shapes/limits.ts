/** Code with limited concurrency: libraries, a pool, `run.map`. */

import pLimit from "p-limit";
import pMap from "p-map";
import PQueue from "p-queue";
import { all, items, type ShapeStage } from "./shape.ts";

export const limited = (concurrency: number) => (stage: ShapeStage) => {
  const limit = pLimit(concurrency);
  return all(items, (item) => limit(() => stage.step(`save-${item}`, "save")));
};

/** Non-durable work keeps a slot of the limiter. */
export function limitedPlain(stage: ShapeStage): Promise<string[]> {
  const limit = pLimit(2);
  return all(items, (item) =>
    limit(async () => {
      const seen = await stage.step(`save-${item}`, `save ${item}`);
      await stage.plain();
      return `${seen} ${await stage.step(`log-${item}`, "log")}`;
    }),
  );
}

/** The lock is taken after non-durable work, and the calls behind it differ. */
export function lockAfterPlain(stage: ShapeStage): Promise<string[]> {
  const limit = pLimit(1);
  return all(items.slice(0, 3), async (item) => {
    await stage.pause();
    return limit(() => stage.step(`save-${item}`, `save ${item}`));
  });
}

/** The lock is taken after non-durable work, and the calls behind it are alike. */
export function alikeLock(stage: ShapeStage): Promise<string[]> {
  const limit = pLimit(1);
  return all(items.slice(0, 3), async (item) => {
    await stage.pause();
    return limit(() => stage.step(`save-${item}`, "save"));
  });
}

export const mapped = (stage: ShapeStage) =>
  pMap(
    items,
    async (item) => {
      const seen = await stage.step(`save-${item}`, "save");
      await stage.plain();
      return seen;
    },
    { concurrency: 2 },
  );

/** Non-durable work decides which of two lanes takes which item, so the calls of the lanes differ. */
export const mappedPlain = (stage: ShapeStage) =>
  pMap(
    items,
    async (item) => {
      const seen = await stage.step(`save-${item}`, `save ${item}`);
      await stage.plain();
      return `${seen} ${await stage.step(`log-${item}`, "log")}`;
    },
    { concurrency: 2 },
  );

export function queued(stage: ShapeStage): Promise<string[]> {
  const queue = new PQueue({ concurrency: 2 });
  return all(items, (item) => queue.add(() => stage.step(`save-${item}`, "save")));
}

/** Workers take items from one array. */
export async function pool(stage: ShapeStage): Promise<string[]> {
  const left = [...items];
  const seen: string[] = [];
  const work = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) {
      await stage.plain();
      await stage.step(`work-${item}`, `work ${item}`);
      await stage.plain();
      seen.push(await stage.step(`log-${item}`, "log"));
    }
  };
  await Promise.all([work(), work()]);
  return seen.sort();
}

export const mapOfRun = (stage: ShapeStage) =>
  stage.map(items, 2, async (item) => {
    await stage.plain();
    const seen = await stage.step(`save-${item}`, "save");
    await stage.plain();
    return `${seen} ${await stage.step(`log-${item}`, "log")}`;
  });
