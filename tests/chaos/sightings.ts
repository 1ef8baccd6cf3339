/** What was seen to happen, and how often: a chaos in which nothing ever went wrong proves nothing. */

import type { Entry } from "@aikirun/lib/protocol";
import { grouped, tryOf } from "../end-to-end/invariants.ts";
import type { LedgerEffect } from "../end-to-end/ledger.ts";

export interface Traces {
  /** What users met. */
  met: ReadonlyMap<string, number>;
  entries: readonly Entry[];
  effects: readonly LedgerEffect[];
  /** Everything that servers and workers said. */
  said: string;
}

const phrases: ReadonlyArray<[what: string, pattern: RegExp]> = [
  ["reports and renewals of ghosts refused", /^refused (FENCED|RUN_FINAL)/gm],
  ["runs given up by the holder's own clock", /lost .*LEASE_LOST/g],
  ["claims sent again", /^repeated claim/gm],
  ["workers that went over to polling", /; polling/g],
  ["workers that came back to Redis", /receiving wake-ups through Redis/g],
  ["times that a database was seen to fail", /the database fails/g],
  ["times that fences were made void", /fences given out before are void/g],
  ["moments when a process stood still", /^late /gm],
  ["heartbeats that were kept waiting", /^kept waiting /gm],
];

export function sightings({ met, entries, effects, said }: Traces): Map<string, number> {
  const seen = new Map(met);
  for (const [mark, all] of grouped(entries.flatMap(markOf), (mark) => mark)) seen.set(mark, all.length);
  for (const [what, pattern] of phrases) seen.set(what, said.match(pattern)?.length ?? 0);
  const repeats = [...grouped(effects, tryOf).values()].filter((all) => all.length > 1);
  const isBack = (all: LedgerEffect[]) => all.some(({ fence }, at) => fence < (all[at - 1]?.fence ?? 0));
  seen.set("effects repeated", repeats.length);
  seen.set("effects of ghosts after those of their heirs", repeats.filter(isBack).length);
  return seen;
}

function markOf({ value }: Entry): string[] {
  if (value.type !== "marked") return [];
  if (value.mark !== "recovered") return [`runs marked ${value.mark}`];
  return [`leases ended, ${value.confirmed ? "confirmed" : "not yet confirmed"}`];
}
