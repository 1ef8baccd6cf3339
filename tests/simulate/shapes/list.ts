/** All shapes, by name. */

import {
  alikeLock,
  limited,
  limitedPlain,
  lockAfterPlain,
  mapOfRun,
  mapped,
  mappedPlain,
  pool,
  queued,
} from "./limits.ts";
import {
  alikeTasks,
  allThenLog,
  asyncGenerator,
  caughtEach,
  emitter,
  helperThenLog,
  naps,
  pagesTwice,
  parallelRecursion,
  parallelTicks,
  plainGenerator,
  prices,
  recursion,
  retryByHandTwice,
  sequentialHelper,
} from "./ordinary.ts";
import { raceWithWinner, stoppable, stoppableWithdrawing, timedRace } from "./races.ts";
import type { Shape } from "./shape.ts";
import { memoised, valuesAfterPlain, valuesInBranches } from "./values.ts";

export const shapes = {
  sequentialHelper: { run: sequentialHelper },
  pagesTwice: { run: pagesTwice },
  helperThenLog: { run: helperThenLog },
  allThenLog: { run: allThenLog },
  parallelTicks: { run: parallelTicks },
  retryByHandTwice: { run: retryByHandTwice },
  asyncGenerator: { run: asyncGenerator },
  plainGenerator: { run: plainGenerator },
  recursion: { run: recursion },
  parallelRecursion: { run: parallelRecursion },
  limitOne: { run: limited(1) },
  limitTwo: { run: limited(2) },
  limitedPlain: { run: limitedPlain },
  lockAfterPlain: { run: lockAfterPlain, hasLock: true },
  alikeLock: { run: alikeLock, hasLock: true },
  mapped: { run: mapped },
  mappedPlain: { run: mappedPlain },
  queued: { run: queued },
  pool: { run: pool },
  emitter: { run: emitter },
  valuesInBranches: { run: valuesInBranches },
  valuesAfterPlain: { run: valuesAfterPlain },
  memoised: { run: memoised },
  caughtEach: { run: caughtEach },
  raceWithWinner: { run: raceWithWinner, leavesBehind: true },
  stoppableWithdrawing: { run: stoppableWithdrawing, leavesBehind: true },
  stoppable: { run: stoppable, leavesBehind: true },
  prices: { run: prices },
  naps: { run: naps },
  alikeTasks: { run: alikeTasks },
  mapOfRun: { run: mapOfRun },
  timedRace: { run: timedRace, isTimed: true, leavesBehind: true },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;

export function shapeOf(name: ShapeName): Shape {
  return shapes[name];
}

/** The names of all shapes, in the order of this list. */
export const shapeNames: readonly ShapeName[] = Object.keys(shapes).filter((name): name is ShapeName => name in shapes);
