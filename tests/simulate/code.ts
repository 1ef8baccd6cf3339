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
}

/** The id of the call that an incompatible edit begins with. */
export const insertedOp = 900;
const appendedOp = 901;

/** Tells one code of a run from another. */
export function editOf({ edits }: Code, runId: RunId): string {
  const edit = edits.get(runId);
  if (edit === undefined) return "";
  return "at" in edit ? `${edit.kind}${edit.at}` : edit.kind;
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
  return { type: "task", id, task: "quick", body: { kind: "ok", ms: 1 } };
}
