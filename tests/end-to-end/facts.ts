/** What a scenario left behind, read from the database and the ledger: the checkers see nothing else. */

import type { RunId } from "@aikirun/lib/protocol";
import { type LedgerEffect, readEffects } from "./ledger.ts";
import { type DatabaseRows, readRows } from "./rows.ts";

/** What the test did, and what it was promised. */
export interface Deeds {
  /** Runs whose start was acknowledged, and how each must end. */
  started: Map<RunId, "completed" | "failed" | "cancelled" | "stalled">;
  /** Acknowledged events. */
  sent: Array<{ runId: RunId; name: string; referenceId: string }>;
  /** What clients were told of a completed run. */
  outputs: Map<RunId, unknown>;
  /** Crashes and pauses inflicted that may cost one more effect each. */
  faults: number;
  /** When processes stood still that may have been on their way to an effect. Epoch milliseconds. */
  stops: Array<{ pid: number; from: number; until: number }>;
  /** By sleep address, in milliseconds. */
  sleeps: Readonly<Record<string, number>>;
}

export interface Facts extends Deeds, DatabaseRows {
  effects: LedgerEffect[];
}

export async function readFacts(database: string, ledger: string, deeds: Deeds): Promise<Facts> {
  return { ...deeds, ...(await readRows(database)), effects: readEffects(ledger) };
}

export function noDeeds(sleeps: Deeds["sleeps"]): Deeds {
  return { started: new Map(), sent: [], outputs: new Map(), faults: 0, stops: [], sleeps };
}

/** What was done to these runs. */
export function deedsOf(deeds: Deeds, roots: ReadonlySet<RunId>, faults: number): Deeds {
  const own = <Value>(all: Map<RunId, Value>) => new Map([...all].filter(([id]) => roots.has(id)));
  return {
    ...deeds,
    started: own(deeds.started),
    outputs: own(deeds.outputs),
    sent: deeds.sent.filter(({ runId }) => roots.has(runId)),
    faults,
  };
}

/** Runs below one of these, or one of these themselves: a scenario that shares a database looks at its own only. */
export function within(facts: Facts, roots: ReadonlySet<RunId>): Facts {
  const mine = new Set(roots);
  const parentOf = new Map(facts.runs.map(({ id, parent, options }) => [id, parent?.id ?? options.retryOf]));
  for (const { id } of facts.runs) {
    const line: RunId[] = [];
    for (let at: RunId | undefined = id; at !== undefined; at = parentOf.get(at)) {
      line.push(at);
      if (mine.has(at)) {
        for (const one of line) mine.add(one);
        break;
      }
    }
  }
  return {
    ...facts,
    runs: facts.runs.filter(({ id }) => mine.has(id)),
    entries: facts.entries.filter(({ runId }) => mine.has(runId)),
    effects: facts.effects.filter(({ runId }) => mine.has(runId)),
  };
}
