/** Waits that a handler withdraws. An event that such a wait had taken goes to another wait: no event is dropped. */

import { withdrawnWait } from "@aikirun/lib/internal";
import type { Address, Report } from "@aikirun/lib/protocol";
import { giveBack, receivedBy, takeWait, unboundIn } from "./bind.ts";
import { arrive, change, type Draft, recordEnd } from "./draft.ts";
import type { Outline } from "./run.ts";

/** The waits that a report withdraws. */
export function withdrawnBy({ entries }: Report): ReadonlySet<Address> {
  const isAny = entries.some(({ value }) => value.type === "withdrawn");
  return isAny ? new Set(entries.flatMap(withdrawnIn)) : none;
}

const none: ReadonlySet<Address> = new Set();

function withdrawnIn({ address, value }: Report["entries"][number]): Address[] {
  return value.type === "withdrawn" ? [withdrawnWait(address)] : [];
}

/**
 * Closes all of these waits first, so that no event goes from one of them to another. Then it binds the events that
 * they had taken to open waits, in order of arrival. `known` has entries of this attempt only: an event that an earlier
 * attempt received can still be reused, so it stays taken.
 */
export function withdraw(next: Draft, withdrawn: ReadonlySet<Address>, known: ReadonlyMap<Address, Outline>): void {
  if (withdrawn.size === 0) {
    return;
  }
  const { waits } = next.run;
  const others = waits.filter(({ address }) => !withdrawn.has(address));
  // mutant: withdrawn-wait
  if (others.length < waits.length) {
    change(next, { waits: others });
  }
  const taken = [...withdrawn]
    .map((address) => known.get(address)?.value)
    .filter((value) => value?.type === "received");
  for (const name of new Set(taken.map((value) => value.name))) {
    const arrivals = taken.filter((value) => value.name === name).map(({ nth }) => nth);
    giveBack(next, name, arrivals); // mutant: give-back
    bindUnbound(next, name);
  }
}

function bindUnbound(next: Draft, name: string): void {
  const arrivals = next.run.events.get(name);
  for (let left = arrivals === undefined ? 0 : unboundIn(arrivals); left > 0; left -= 1) {
    const wait = takeWait(next, name);
    const value = wait === null ? null : receivedBy(next, name);
    if (wait === null || value === null) {
      return;
    }
    recordEnd(next, wait, value);
    arrive(next);
  }
}
