/** Records outcomes of children that are too large to be loaded with their rows, a few at a time. */

import type { Entry, RunId } from "@aikirun/lib/protocol";
import { childEnd } from "../core/receive.ts";
import type { NewFact, Run, UnreadEnd } from "../core/run.ts";
import { inBatches } from "../storage/heavy.ts";
import type { Obstacle, Transaction } from "../storage/storage.ts";
import { parts } from "./budget.ts";
import { wholeInTurn } from "./whole.ts";

/** Returns the obstacles, as `save` does. */
export async function saveEnds(
  transaction: Pick<Transaction, "load" | "payloads" | "save">,
  facts: ReadonlyArray<NewFact & { value: UnreadEnd }>,
): Promise<Obstacle[]> {
  const byChild = new Map<RunId, NewFact[]>();
  for (const fact of facts) {
    const { child } = fact.value;
    byChild.set(child, [...(byChild.get(child) ?? []), fact]);
  }
  const load = (ids: RunId[]) => transaction.load(ids);
  const obstacles: Obstacle[] = [];
  for (const ids of parts([...byChild.keys()])) {
    for await (const rows of inBatches(load([...ids]), load)) {
      for await (const children of wholeInTurn(transaction, rows)) {
        const entries = children.flatMap((child) => (byChild.get(child.id) ?? []).map((fact) => withEnd(fact, child)));
        obstacles.push(...(await transaction.save({ changes: [], holds: [], entries })));
      }
    }
  }
  return obstacles;
}

function withEnd(fact: NewFact, child: Run): Entry {
  const value = childEnd(child);
  if (value === null || value.type === "unread") {
    throw new Error(`The outcome of child ${child.id} is not in storage.`);
  }
  return { ...fact, value };
}
