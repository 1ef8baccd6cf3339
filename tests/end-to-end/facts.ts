/** The input of the checkers: the database, the ledger, and the actions of the test. */

import type { RunId } from "@aikirun/lib/protocol";
import { type LedgerEffect, readEffects } from "./ledger.ts";
import { type DatabaseRows, readRows } from "./rows.ts";

/** What the test did, and what was acknowledged. */
export interface Actions {
  /** Runs whose start was acknowledged, and how each must end. */
  started: Map<RunId, "completed" | "failed" | "cancelled" | "stalled">;
  /** Acknowledged events. */
  sent: Array<{ runId: RunId; name: string; referenceId: string }>;
  /** The outputs of completed runs that clients received. */
  outputs: Map<RunId, unknown>;
  /** Injected crashes and pauses. Each may cause one repeated effect. */
  faults: number;
  /** When processes were stopped, possibly just before an effect. Epoch milliseconds. */
  stops: Array<{ pid: number; from: number; until: number }>;
  /** The requested durations by address of the sleep. Milliseconds. */
  sleeps: Readonly<Record<string, number>>;
}

export interface Facts extends Actions, DatabaseRows {
  effects: LedgerEffect[];
}

export async function readFacts(database: string, ledger: string, actions: Actions): Promise<Facts> {
  return { ...actions, ...(await readRows(database)), effects: readEffects(ledger) };
}

export function noActions(sleeps: Actions["sleeps"]): Actions {
  return { started: new Map(), sent: [], outputs: new Map(), faults: 0, stops: [], sleeps };
}

/** The actions on these runs only. */
export function actionsOf(actions: Actions, roots: ReadonlySet<RunId>, faults: number): Actions {
  const own = <Value>(all: Map<RunId, Value>) => new Map([...all].filter(([id]) => roots.has(id)));
  return {
    ...actions,
    started: own(actions.started),
    outputs: own(actions.outputs),
    sent: actions.sent.filter(({ runId }) => roots.has(runId)),
    faults,
  };
}

/** The facts of these runs and their descendants. For scenarios that share a database. */
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
