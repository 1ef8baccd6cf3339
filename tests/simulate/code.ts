/** Code that changes under runs that are under way: what a deployment makes of their programs. */

import type { RunId } from "@aikirun/lib/protocol";
import type { Op } from "./program.ts";

export type Edit =
  /** Two finished calls change places. */
  | { kind: "swap"; at: number }
  /** Everything from here on is removed; no new call follows. */
  | { kind: "truncate"; at: number }
  /** New calls after all the others. */
  | { kind: "append" }
  /** A new call before all that is recorded: the code no longer fits. */
  | { kind: "insert" };

/** What one deployment knows. Processes keep the code that they began with. */
export interface Code {
  readonly edits: ReadonlyMap<RunId, Edit>;
  /** Runs whose calls have a key each; the first of those that retry one another stands for all. */
  readonly keyed: ReadonlySet<RunId>;
  /** Grows with each deployment. */
  readonly build: number;
}

export const firstCode: Code = { edits: new Map(), keyed: new Set(), build: 0 };

/** The id of the call that an incompatible edit begins with. */
const insertedOp = 900;
const appendedOp = 901;

export const insertedPath = `task${insertedOp}`;

/** Tells one code of a run from another. */
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
