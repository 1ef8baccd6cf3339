/** Which runs already have the ids and references that a transaction wants for children. */

import { type ChildStart, limits, type RunId } from "@aikirun/lib/protocol";
import { childEnd } from "../core/receive.ts";
import type { NameHolder, Run, Taken } from "../core/run.ts";
import { typeOf } from "../core/unread.ts";
import { storedBytes } from "../storage/entry-row.ts";
import { inBatches, RowsLeft } from "../storage/heavy.ts";
import type { ReferenceKey, Transaction } from "../storage/storage.ts";
import { parts } from "./budget.ts";

export interface TakenNames {
  /** Notes ids and references that `load` is to look up. */
  want(namespace: string, starts: readonly ChildStart[]): void;
  /**
   * Looks up all wanted ids and references: with three statements, more if rows are many or large, none if nothing is
   * wanted. It keeps outcomes of children up to the size of a reply. If there are more, and they are for several
   * commands (`isForOne` false), it throws `RowsLeft`.
   */
  load(transaction: Pick<Transaction, "load" | "referenced">, isForOne: boolean): Promise<void>;
  /** This transaction starts the run. */
  add(run: Run): void;
  /** The runs that these starts conflict with. */
  of(namespace: string, starts: readonly ChildStart[]): Taken[];
}

/** Rows loaded with one statement. */
const rowsAtOnce = 200;

export function takenNames(): TakenNames {
  const ids = new Set<RunId>();
  const references = new Map<string, ReferenceKey>();
  const byId = new Map<RunId, NameHolder>();
  const byReference = new Map<string, NameHolder>();
  /** The size of all outcomes so far. Bytes. */
  let ends = 0;

  const note = (run: Run): NameHolder => {
    const holder = byId.get(run.id) ?? { id: run.id, parent: run.parent, end: endOf(run) };
    byId.set(run.id, holder);
    if (run.referenceId !== null) {
      byReference.set(keyOf(run.namespace, run.name, run.referenceId), holder);
    }
    return holder;
  };

  const endOf = (run: Run): NameHolder["end"] => {
    const end = run.parent === null ? null : childEnd(run);
    if (end === null) {
      return null;
    }
    const bytes = end.type === "unread" ? end.bytes : storedBytes(end);
    ends += bytes;
    return ends <= limits.replyBytes || end.type === "unread"
      ? end
      : { type: "unread", of: typeOf({ value: end }), bytes, child: run.id };
  };

  return {
    want(namespace, starts) {
      for (const { spec } of starts) {
        ids.add(spec.id);
        if (spec.referenceId !== undefined) {
          const { name, referenceId } = spec;
          references.set(keyOf(namespace, name, referenceId), { namespace, name, referenceId });
        }
      }
    },
    async load(transaction, isForOne) {
      const load = (some: RunId[]) => transaction.load(some);
      const noteAll = async (loading: Promise<Run[]>) => {
        for await (const runs of inBatches(loading, load)) {
          const holders = runs.map(note);
          if (ends > limits.replyBytes && !isForOne) {
            throw new RowsLeft({ runs: [], left: holders.map(({ id }) => id) });
          }
        }
      };
      for (const some of parts([...ids], rowsAtOnce)) {
        await noteAll(load([...some]));
      }
      for (const some of parts([...references.values()], rowsAtOnce)) {
        await noteAll(transaction.referenced([...some]));
      }
    },
    add: note,
    of: (namespace, starts) =>
      starts.flatMap(({ address, spec: { id, name, referenceId } }) => {
        const named = referenceId === undefined ? undefined : byReference.get(keyOf(namespace, name, referenceId));
        const holder = byId.get(id) ?? named;
        return holder === undefined ? [] : [{ address, holder }];
      }),
  };
}

function keyOf(namespace: string, name: string, referenceId: string): string {
  return JSON.stringify([namespace, name, referenceId]);
}
