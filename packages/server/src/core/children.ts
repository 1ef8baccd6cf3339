/** Starts of children. A conflict is recorded at the address of the call, where the handler receives it as an error. */

import type { ErrorCode } from "@aikirun/lib";
import { resultAddress } from "@aikirun/lib/internal";
import type { Address, ChildStart, Failure, Report } from "@aikirun/lib/protocol";
import { arrive, change, type Draft, record } from "./draft.ts";
import type { Entry, NameHolder, Outline, Run, Taken } from "./run.ts";
import { openChild } from "./start.ts";

/** `taken`: runs that already have the ids or references. Two starts of one report may conflict: the first one wins. */
export function startChildren(
  next: Draft,
  { starts }: Report,
  taken: readonly Taken[],
  known: ReadonlyMap<Address, Outline>,
): void {
  const holders = new Map(taken.map(({ address, holder }) => [address, holder]));
  const begun: Run[] = [];
  for (const start of starts) {
    const child = openChild(next.run, start.address, start.spec, next.moment);
    const earlier = begun.find((other) => isConflict(other, child));
    const holder = holders.get(start.address) ?? (earlier === undefined ? undefined : { ...earlier, end: null });
    if (holder === undefined) {
      begun.push(child);
      begin(next, start, child);
    } else if (holder.parent?.id === next.run.id && holder.parent.address === start.address) {
      adopt(next, start, holder, known);
    } else {
      recordStart(next, start, { type: "threw", error: conflict(start, holder) });
      arrive(next);
    }
  }
}

function isConflict(one: Run, other: Run): boolean {
  return (
    one.id === other.id ||
    (one.referenceId !== null && one.referenceId === other.referenceId && one.name === other.name)
  );
}

function begin(next: Draft, start: ChildStart, child: Run): void {
  recordStart(next, start, { type: "started", runId: child.id });
  next.effects.push({ type: "start", run: child, reuse: null });
  change(next, { children: next.run.children + (start.spec.onParentEnd === "abandon" ? 0 : 1) });
}

/** An earlier attempt made the same call: its child is used. If it has ended, its outcome is recorded again. */
function adopt(next: Draft, start: ChildStart, { id, end }: NameHolder, known: ReadonlyMap<Address, Outline>): void {
  recordStart(next, start, { type: "started", runId: id });
  if (id !== start.spec.id) {
    arrive(next);
  }
  const address = resultAddress(start.address);
  if (end !== null && !known.has(address)) {
    record(next, address, end);
    arrive(next);
  }
}

function recordStart(next: Draft, { address, callSite }: ChildStart, value: Entry["value"]): void {
  record(next, address, value, callSite === undefined ? {} : { callSite });
}

function conflict({ spec: { id, name, referenceId } }: ChildStart, holder: NameHolder): Failure {
  if (holder.id === id) {
    return refusal("RUN_ID_CONFLICT", `The id ${id} is taken by a run with other content.`);
  }
  return refusal(
    "REFERENCE_CONFLICT",
    `The reference ${referenceId} of ${name} is taken by run ${holder.id}, which this call did not start. ` +
      "Use another reference.",
  );
}

function refusal(code: ErrorCode, message: string): Failure {
  return { name: "AikiError", code, message };
}
