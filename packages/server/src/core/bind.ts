/** What arrives meets waits here and nowhere else, events oldest with oldest. */

import { change, type Draft } from "./draft.ts";
import type { Arrivals, Value, Wait } from "./run.ts";

const none: Arrivals = { arrived: 0, taken: 0 };

export function countArrival(next: Draft, name: string): void {
  const { arrived, taken } = next.run.events.get(name) ?? none;
  setArrivals(next, name, { arrived: arrived + 1, taken });
}

/** What a wait for this event records if something is unbound, which is then taken; else null. */
export function receivedBy(next: Draft, name: string): Value | null {
  const { arrived, taken } = next.run.events.get(name) ?? none;
  if (arrived === taken) {
    return null;
  }
  setArrivals(next, name, { arrived, taken: taken + 1 });
  return { type: "received", name, nth: taken };
}

/** Takes the oldest open wait for this event out of the run's waits. */
export function takeWait(next: Draft, name: string): Wait | null {
  const { waits } = next.run;
  const index = waits.findIndex((wait) => wait.type === "event" && wait.name === name);
  const wait = waits[index];
  if (wait === undefined) {
    return null;
  }
  change(next, { waits: waits.toSpliced(index, 1) });
  return wait;
}

function setArrivals(next: Draft, name: string, arrivals: Arrivals): void {
  change(next, { events: new Map(next.run.events).set(name, arrivals) });
}
