/** Complete runs and entries, of which tests set only the relevant fields. */

import type { Entry, Value } from "@aikirun/lib/protocol";
import type { Run, State, WholeRun } from "../../packages/server/src/core/run.ts";

export type StoredState = WholeRun["state"];

/** UUIDv7 ids that are ordered by `n`. */
export function runId(n: number): string {
  return `0190a000-0000-7000-8000-${String(n).padStart(12, "0")}`;
}

export function queuedRun(n: number, differing: Partial<WholeRun> = {}): WholeRun {
  return {
    id: runId(n),
    namespace: "default",
    name: "order",
    versionId: "1.0.0",
    shardKey: null,
    priority: 0,
    input: '{"orderId":"o-1"}',
    options: {},
    referenceId: null,
    parent: null,
    createdAt: 1_000 + n,
    updatedAt: 1_000 + n,
    state: { status: "queued", resumable: null, redeliveries: 0, redeliverAt: 6_000 + n },
    since: 1_000 + n,
    waits: [],
    events: new Map(),
    timeoutAt: null,
    dueAt: 6_000 + n,
    revision: 1,
    fence: 0,
    inbox: 0,
    attempt: 1,
    build: null,
    crashes: 0,
    lostLeases: 0,
    children: 0,
    reported: null,
    lastError: null,
    tail: 0,
    ...differing,
  };
}

export function runningState(session = "session-1", claimId = "claim-1"): Extract<State, { status: "running" }> {
  return {
    status: "running",
    session,
    worker: "worker-1",
    claimId,
    leaseMs: 90_000,
    leaseUntil: 100_000,
    confirmed: false,
    resumable: null,
  };
}

/** The next revision of a run, with these changes. */
export function next(run: Run, differing: Partial<Run>): { before: Run; after: Run } {
  return { before: run, after: { ...run, revision: run.revision + 1, ...differing } };
}

export function returnedEntry(id: string, seq: number, differing: Partial<Entry> = {}): Entry {
  return entryWith(id, seq, { type: "returned", output: `{"seq":${seq}}` }, differing);
}

export function entryWith(id: string, seq: number, value: Value, differing: Partial<Entry> = {}): Entry {
  return {
    runId: id,
    seq,
    address: `task:charge:abc#${seq}`,
    attempt: 1,
    at: 500 + seq,
    fence: 1,
    value,
    ...differing,
  };
}
