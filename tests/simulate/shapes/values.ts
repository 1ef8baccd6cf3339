/** Derived values, and a value for which several branches wait. */

import { all, type ShapeStage, two } from "./shape.ts";

export function valuesInBranches(stage: ShapeStage): Promise<string[]> {
  return all(two, async (name) => {
    await stage.step(`first-${name}`, `first ${name}`);
    await stage.plain();
    const made = [stage.uuid(`uuid-${name}`), stage.random(`random-${name}`), stage.now(`now-${name}`)];
    await stage.step(`save-${name}`, `save ${name}`);
    return made.join(" ");
  });
}

export function valuesAfterPlain(stage: ShapeStage): Promise<string[]> {
  return all(two, async (name) => {
    await stage.plain();
    const made = stage.uuid(`uuid-${name}`);
    await stage.step(`save-${name}`, `save ${name}`);
    return made;
  });
}

/** The first caller fetches the token. The others wait for it, in the order of their calls. */
export async function memoised(stage: ShapeStage): Promise<string[]> {
  let token: Promise<string> | undefined;
  const fetched = async () => {
    await stage.plain();
    return stage.step("token", "token");
  };
  return all(two, async (name) => {
    await stage.plain();
    token ??= fetched();
    await token;
    await stage.step(`use-${name}`, `use ${name}`);
    return stage.step(`log-${name}`, "log");
  });
}
