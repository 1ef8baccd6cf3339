/** Deployments that change the code of unfinished runs. */

import type { RunId } from "@aikirun/lib/protocol";
import type { Op } from "./program.ts";

export type Edit =
  /** Swaps two finished calls. */
  | { kind: "swap"; at: number }
  /** Removes all calls from here on. */
  | { kind: "truncate"; at: number }
  /** Adds calls at the end. */
  | { kind: "append" }
  /** Adds a call before all recorded ones, so that the code no longer fits. */
  | { kind: "insert" };

/** The code of one deployment. A process keeps the code with which it started. */
export interface Code {
  readonly edits: ReadonlyMap<RunId, Edit>;
  /** Runs whose calls all have keys. The first run of a chain of retries stands for all of them. */
  readonly keyed: ReadonlySet<RunId>;
  /** Increases with each deployment. */
  readonly build: number;
}

export const firstCode: Code = { edits: new Map(), keyed: new Set(), build: 0 };

/** The id of the call that an incompatible edit adds. */
const insertedOp = 900;
const appendedOp = 901;

export const insertedPath = `task${insertedOp}`;

/** Identifies one version of the code of a run. */
export function editOf({ edits, keyed }: Code, runId: RunId, family: RunId): string {
  const edit = edits.get(runId);
  const keys = keyed.has(family) ? "keyed" : "";
  if (edit === undefined) return keys;
  return "at" in edit ? `${keys}${edit.kind}${edit.at}` : `${keys}${edit.kind}`;
}

export function edited(ops: readonly Op[], edit: Edit | undefined): readonly Op[] {
  switch (edit?.kind) {
    case undefined:
      return ops;
    case "swap":
      return ops.map(
        (op, index) => (index === edit.at ? ops[index + 1] : index === edit.at + 1 ? ops[edit.at] : op) ?? op,
      );
    case "truncate":
      return ops.slice(0, edit.at);
    case "append":
      return [...ops, newOp(appendedOp)];
    case "insert":
      return [newOp(insertedOp), ...ops];
    default:
      return edit satisfies never;
  }
}

function newOp(id: number): Op {
  return { type: "task", id, task: "quick", alike: null, body: { kind: "ok", ms: 1 } };
}
