/** Binds events to waits: the oldest event of a name to the oldest open wait for it. */

import { change, type Draft } from "./draft.ts";
import type { Arrivals, Value, Wait } from "./run.ts";

const none: Arrivals = { arrived: 0, taken: 0 };

export function countArrival(next: Draft, name: string): void {
  const arrivals = next.run.events.get(name) ?? none;
  setArrivals(next, name, { ...arrivals, arrived: arrivals.arrived + 1 });
}

/** Takes the oldest arrival that no wait has taken, and returns what the wait records; null if there is none. */
export function receivedBy(next: Draft, name: string): Value | null {
  const { arrived, taken, returned = [] } = next.run.events.get(name) ?? none;
  const [first, ...others] = returned;
  if (first !== undefined) {
    setArrivals(next, name, others.length === 0 ? { arrived, taken } : { arrived, taken, returned: others });
    return { type: "received", name, nth: first };
  }
  if (arrived === taken) {
    return null;
  }
  setArrivals(next, name, { arrived, taken: taken + 1 });
  return { type: "received", name, nth: taken };
}

/** Makes these arrivals, by number, available again: the waits that had taken them were withdrawn. */
export function giveBack(next: Draft, name: string, arrivals: readonly number[]): void {
  const { returned = [], ...counts } = next.run.events.get(name) ?? none;
  setArrivals(next, name, { ...counts, returned: [...returned, ...arrivals].sort((left, right) => left - right) });
}

/** How many arrivals of a name no wait has taken. */
export function unboundIn({ arrived, taken, returned = [] }: Arrivals): number {
  return arrived - taken + returned.length;
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
