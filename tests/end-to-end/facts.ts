/** What a scenario left behind, read from the database file and the ledger: the checkers see nothing else. */

import type { Entry, RunId } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import { entryOf, type Row, runOf, textOf } from "../../packages/server/src/storage/row.ts";
import { loadDriver } from "../../packages/server/src/storage/sqlite/driver.ts";
import { type Effect, readEffects } from "./ledger.ts";

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
  /** By sleep address, in milliseconds. */
  sleeps: Readonly<Record<string, number>>;
}

export interface Facts extends Deeds {
  runs: Run[];
  entries: Entry[];
  effects: Effect[];
  /** What `PRAGMA integrity_check` says: one line, `ok`. */
  integrity: string[];
}

/** Opened for reading only, while a server may have it open. */
export async function readFacts(path: string, ledger: string, deeds: Deeds): Promise<Facts> {
  const driver = await loadDriver();
  const database = new driver(path);
  const all = (sql: string): Row[] => database.prepare(sql).all();
  try {
    database.exec("PRAGMA query_only = 1");
    return {
      ...deeds,
      runs: all("SELECT *, (SELECT max(seq) FROM entry WHERE run_id = id) AS tail FROM run").map(runOf),
      entries: all("SELECT * FROM entry ORDER BY run_id, seq").map(entryOf),
      integrity: all("PRAGMA integrity_check").map((row) => textOf(row, "integrity_check")),
      effects: readEffects(ledger),
    };
  } finally {
    database.close();
  }
}

/** Runs below one of these, or one of these themselves: a scenario that shares a file looks at its own only. */
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
