/** Races whose winner decides the next calls. */

import { all, type ShapeStage, two } from "./shape.ts";

/** The winner is part of the next calls. */
export async function raceWithWinner(stage: ShapeStage): Promise<string[]> {
  const winner = await Promise.race([
    stage.step("a", "slow").then(() => "a"),
    stage.wait("b", 700).then(() => "b"),
    stage.sleep("c", 20).then(() => "c"),
  ]);
  await stage.plain();
  const results = await all(two, (party) => stage.step(`tell-${party}-${winner}`, `tell ${party} of ${winner}`));
  return [winner, ...results];
}

export async function stoppable(stage: ShapeStage): Promise<string[]> {
  const seen: string[] = [];
  for (let round = 0; round < 3; round++) {
    const stop = stage.wait(`stop-${round}`, 2_500).then((event) => `stop ${event}`);
    const winner = await Promise.race([stop, stage.sleep(`sleep-${round}`, 100).then(() => "sleep")]);
    seen.push(winner, await stage.step(`tick-${round}`, "tick"));
    await stage.plain();
  }
  return seen;
}

/** The same, but the loser is withdrawn. An event reaches the current round or the next one. */
export async function stoppableWithdrawing(stage: ShapeStage): Promise<string[]> {
  const seen: string[] = [];
  for (let round = 0; round < 4; round++) {
    const winner = await stage.race([
      (signal) => stage.wait(`stop-${round}`, 2_500, signal).then((event) => `stop ${event}`),
      (signal) => stage.sleep(`sleep-${round}`, 100, signal).then(() => "sleep"),
    ]);
    seen.push(winner, await stage.step(`tick-${round}`, "tick"));
    await stage.plain();
  }
  return seen;
}

/** A race of a timer of Node and a durable call. */
export async function timedRace(stage: ShapeStage): Promise<string[]> {
  const winner = await Promise.race([stage.step("a", "slow").then(() => "a"), stage.pause().then(() => "timer")]);
  return [winner, await stage.step(`then-${winner}`, `then ${winner}`)];
}
