/** Helpers, generators and recursion around alike calls. */

import { EventEmitter } from "node:events";
import { all, items, type ShapeStage, two } from "./shape.ts";

async function helper(stage: ShapeStage, path: string, name: string): Promise<string> {
  await stage.plain();
  return stage.step(path, name);
}

export async function sequentialHelper(stage: ShapeStage): Promise<string[]> {
  const seen: string[] = [];
  for (const item of items.slice(0, 3)) seen.push(await helper(stage, `save-${item}`, "save"));
  return seen;
}

export async function pagesTwice(stage: ShapeStage): Promise<string[]> {
  const seen: string[] = [];
  const sync = async (entity: string) => {
    for (let page = 0; page < 2; page++) {
      seen.push(await stage.step(`${entity}-${page}`, "page"));
      await stage.plain();
    }
  };
  await sync("users");
  await sync("orders");
  return seen;
}

export async function helperThenLog(stage: ShapeStage): Promise<string[]> {
  const inner = async () => {
    await stage.step("x", "x");
    await stage.plain();
    return stage.step("log-1", "log");
  };
  return [await inner(), await stage.step("log-2", "log")];
}

export async function allThenLog(stage: ShapeStage): Promise<string[]> {
  const seen = await all(two, async (name) => {
    await stage.step(`x-${name}`, "x");
    await stage.plain();
    return stage.step(`log-${name}`, "log");
  });
  return [...seen, await stage.step("log", "log")];
}

export function parallelTicks(stage: ShapeStage): Promise<string[]> {
  return all(items.slice(0, 3), async (name) => {
    const first = await stage.step(`${name}-1`, "tick");
    await stage.plain();
    return `${first} ${await stage.step(`${name}-2`, "tick")}`;
  });
}

export async function retryByHandTwice(stage: ShapeStage): Promise<string[]> {
  const tried = async (what: string) => {
    for (let time = 0; ; time++) {
      const seen = await stage.step(`${what}-${time}`, "try");
      if (time > 0) return seen;
      await stage.plain();
    }
  };
  return [await tried("a"), await tried("b")];
}

export async function asyncGenerator(stage: ShapeStage): Promise<string[]> {
  async function* pages() {
    for (let page = 0; page < 2; page++) {
      await stage.step(`page-${page}`, "page");
      yield `${page}a`;
      yield `${page}b`;
    }
  }
  const seen: string[] = [];
  for await (const item of pages()) seen.push(await stage.step(`save-${item}`, "save"));
  return seen;
}

export async function plainGenerator(stage: ShapeStage): Promise<string[]> {
  async function* pages() {
    for (let page = 0; page < 3; page++) {
      await stage.plain();
      yield page;
    }
  }
  const seen: string[] = [];
  for await (const page of pages()) seen.push(await stage.step(`save-${page}`, "save"));
  return seen;
}

export async function recursion(stage: ShapeStage): Promise<string[]> {
  const seen: string[] = [];
  const walk = async (depth: number, node: string) => {
    seen.push(await stage.step(`visit-${node}`, "visit"));
    await stage.plain();
    if (depth === 0) return;
    await walk(depth - 1, `${node}l`);
    await walk(depth - 1, `${node}r`);
  };
  await walk(2, "t");
  return seen;
}

export function parallelRecursion(stage: ShapeStage): Promise<string[]> {
  const walk = async (depth: number, node: string): Promise<string[]> => {
    const seen = await stage.step(`visit-${node}`, "visit");
    await stage.plain();
    if (depth === 0) return [seen];
    const [left, right] = await Promise.all([walk(depth - 1, `${node}l`), walk(depth - 1, `${node}r`)]);
    return [seen, ...left, ...right];
  };
  return walk(2, "t");
}

export async function emitter(stage: ShapeStage): Promise<string[]> {
  const events = new EventEmitter();
  const seen: Array<Promise<string>> = [];
  events.on("x", (nth: number) => {
    seen.push(stage.step(`on-${nth}`, "on"));
  });
  await stage.step("a", "a");
  events.emit("x", 1);
  await stage.plain();
  await stage.step("b", "b");
  events.emit("x", 2);
  return Promise.all(seen);
}

/** The failure of each item is caught. A second attempt of the run retries the failed items. */
export async function caughtEach(stage: ShapeStage): Promise<string[]> {
  const seen = await all(items.slice(0, 3), async (name) => {
    await stage.step(`first-${name}`, "first");
    await stage.plain();
    try {
      const charged = name === "b" ? stage.step(`charge-${name}`, "charge") : stage.failing(`charge-${name}`, "charge");
      return await charged;
    } catch {
      return `no ${await stage.step(`note-${name}`, "note")}`;
    }
  });
  if (stage.attempt === 1) throw new Error("some failed");
  return seen;
}

/** Non-durable work between two calls of one branch. */
export async function prices(stage: ShapeStage): Promise<string[]> {
  const seen = await all(["ann", "bob"], async (name) => {
    await stage.step(`price-${name}`, "price");
    if (name === "ann") await stage.pause();
    return stage.step(`charge-${name}`, "charge");
  });
  await stage.sleep("rest", 10_000);
  return seen;
}

export async function naps(stage: ShapeStage): Promise<string[]> {
  const seen = await all(two, async (name) => {
    await stage.step(`first-${name}`, "first");
    await stage.plain();
    return stage.sleep(`nap-${name}`, name === "a" ? 6_000 : 1_500);
  });
  return [...seen, await stage.step("done", "done")];
}

export function alikeTasks(stage: ShapeStage): Promise<string[]> {
  return all(items.slice(0, 3), async (name) => {
    await stage.step(`first-${name}`, `first ${name}`);
    await stage.plain();
    return stage.task(`send-${name}`, "send");
  });
}
