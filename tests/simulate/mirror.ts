/**
 * A copy of all committed data, kept apart from the engine and storage. Every commit is passed to the rules, with the
 * state before and after it.
 */

import type { Entry, RunId } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import { nonceOf } from "./nonce.ts";

/** What one transaction wrote. `before` is null for a new run. */
export interface Written {
  runs: Array<{ before: Run | null; after: Run }>;
  entries: Entry[];
}

/** One run's row as a commit changed it. */
export interface RowChange {
  before: Run | null;
  after: Run;
}

export interface Commit {
  server: string;
  /** The time of the commit by the database's clock. */
  now: number;
  changes: RowChange[];
  entries: Entry[];
}

export type CommitRule = (commit: Commit) => void;

export class Mirror {
  readonly runs: Map<RunId, Run> = new Map();
  readonly #journals = new Map<RunId, Entry[]>();
  readonly #addresses = new Map<string, Entry>();
  /** The recorded nonces of bodies, by run. */
  readonly #nonces = new Set<string>();
  readonly #rules: CommitRule[] = [];
  /** How many transactions wrote something. */
  commits = 0;

  /** The database's clock. */
  now: () => number = () => 0;

  onCommit(rule: CommitRule): void {
    this.#rules.push(rule);
  }

  journal(runId: RunId): readonly Entry[] {
    return this.#journals.get(runId) ?? [];
  }

  entryAt(runId: RunId, attempt: number, address: string): Entry | undefined {
    return this.#addresses.get(keyOf(runId, attempt, address));
  }

  /** The latest entry at an address, of any attempt. */
  latestAt(runId: RunId, address: string): Entry | undefined {
    for (let attempt = this.runs.get(runId)?.attempt ?? 0; attempt >= 0; attempt--) {
      const entry = this.entryAt(runId, attempt, address);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** Whether the nonce of a body is recorded in this run. */
  holds(runId: RunId, nonce: string): boolean {
    return this.#nonces.has(`${runId} ${nonce}`);
  }

  commit(written: Written, now: number, server: string): void {
    if (written.runs.length + written.entries.length === 0) return;
    this.commits += 1;
    // A transaction may save a run more than once. Only the last state is committed.
    const last = new Map(written.runs.map(({ after }) => [after.id, after]));
    const changes = [...last.values()].map((after) => ({ before: this.runs.get(after.id) ?? null, after }));
    for (const rule of this.#rules) rule({ server, now, changes, entries: written.entries });
    for (const { after } of changes) this.runs.set(after.id, after);
    for (const entry of written.entries) {
      const journal = this.#journals.get(entry.runId);
      if (journal === undefined) this.#journals.set(entry.runId, [entry]);
      else journal.push(entry);
      this.#addresses.set(keyOf(entry.runId, entry.attempt, entry.address), entry);
      const nonce = nonceOf(entry);
      if (nonce !== null) this.#nonces.add(`${entry.runId} ${nonce}`);
    }
  }
}

function keyOf(runId: RunId, attempt: number, address: string): string {
  return `${runId} ${attempt} ${address}`;
}
