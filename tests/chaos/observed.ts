/** Counts what happened during the test, because a test without failures proves nothing. */

import type { Entry } from "@aikirun/lib/protocol";
import { grouped, tryOf } from "../end-to-end/invariants.ts";
import type { LedgerEffect } from "../end-to-end/ledger.ts";

export interface Traces {
  /** What users observed. */
  observed: ReadonlyMap<string, number>;
  entries: readonly Entry[];
  effects: readonly LedgerEffect[];
  /** The output of all servers and workers. */
  output: string;
}

const patterns: ReadonlyArray<[what: string, pattern: RegExp]> = [
  ["reports and renewals of former holders refused", /^refused (FENCED|RUN_FINAL)/gm],
  ["runs abandoned by the holder's own clock", /lost .*LEASE_LOST/g],
  ["claims repeated", /^repeated claim/gm],
  ["times that a worker changed to polling", /; polling/g],
  ["times that a worker returned to Redis", /receiving wake-ups through Redis/g],
  ["times that a database failed", /the database fails/g],
  ["times that fences were invalidated", /fences given out before are void/g],
  ["times that a process was paused", /^late /gm],
  ["heartbeats with a late reply", /^kept waiting /gm],
];

export function observedCounts({ observed, entries, effects, output }: Traces): Map<string, number> {
  const seen = new Map(observed);
  for (const [mark, all] of grouped(entries.flatMap(markOf), (mark) => mark)) seen.set(mark, all.length);
  for (const [what, pattern] of patterns) seen.set(what, output.match(pattern)?.length ?? 0);
  const repeats = [...grouped(effects, tryOf).values()].filter((all) => all.length > 1);
  const isBack = (all: LedgerEffect[]) => all.some(({ fence }, at) => fence < (all[at - 1]?.fence ?? 0));
  seen.set("effects repeated", repeats.length);
  seen.set("effects of former holders after those of their successors", repeats.filter(isBack).length);
  return seen;
}

function markOf({ value }: Entry): string[] {
  if (value.type !== "marked") return [];
  if (value.mark !== "recovered") return [`runs marked ${value.mark}`];
  return [`leases expired, ${value.confirmed ? "confirmed" : "not yet confirmed"}`];
}
