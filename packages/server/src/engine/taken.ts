/** Which runs have the ids and the references that children are to get, as far as a transaction knows. */

import type { ChildStart, RunId } from "@aikirun/lib/protocol";
import type { Run, Taken } from "../core/run.ts";
import { inTurn } from "../storage/heavy.ts";
import type { ReferenceKey, Transaction } from "../storage/storage.ts";
import { whole } from "./whole.ts";

export interface TakenNames {
  /** Notes ids and references that `load` is to look up. */
  want(namespace: string, starts: readonly ChildStart[]): void;
  /** Looks up all that is wanted: with three statements, more if rows are heavy, and none if nothing is wanted. */
  load(transaction: Pick<Transaction, "load" | "payloads" | "referenced">): Promise<void>;
  /** This transaction is to begin the run. */
  add(run: Run): void;
  /** What stands in the way of these starts. */
  of(namespace: string, starts: readonly ChildStart[]): Taken[];
}

export function takenNames(): TakenNames {
  const ids = new Set<RunId>();
  const references = new Map<string, ReferenceKey>();
  const byId = new Map<RunId, Run>();
  const byReference = new Map<string, Run>();

  const add = (run: Run) => {
    byId.set(run.id, run);
    if (run.referenceId !== null) {
      byReference.set(keyOf(run.namespace, run.name, run.referenceId), run);
    }
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
    async load(transaction) {
      if (ids.size === 0) {
        return;
      }
      const load = (some: RunId[]) => transaction.load(some);
      const runs = await lightOf(inTurn(load([...ids]), load));
      if (references.size > 0) {
        runs.push(...(await lightOf(inTurn(transaction.referenced([...references.values()]), load))));
      }
      // Of a child that has ended its parent is told the output.
      const children = await whole(
        transaction,
        runs.filter(({ parent }) => parent !== null),
      );
      for (const run of [...runs, ...children]) {
        add(run);
      }
    },
    add,
    of: (namespace, starts) =>
      starts.flatMap(({ address, spec: { id, name, referenceId } }) => {
        const named = referenceId === undefined ? undefined : byReference.get(keyOf(namespace, name, referenceId));
        const holder = byId.get(id) ?? named;
        return holder === undefined ? [] : { address, holder };
      }),
  };
}

/** All of the runs, without what makes their rows heavy: who holds a name is only asked what it is. */
async function lightOf(batches: AsyncIterable<readonly Run[]>): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const batch of batches) {
    runs.push(...batch.map((run) => ({ ...run, waits: [], events: new Map() })));
  }
  return runs;
}

function keyOf(namespace: string, name: string, referenceId: string): string {
  return JSON.stringify([namespace, name, referenceId]);
}
