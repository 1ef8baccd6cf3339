/** The children that a suspended run waits for. */

import { childWaitAddress, openedWaitAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { Address, RunId } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import { inBatches } from "../storage/heavy.ts";
import type { Reader } from "../storage/storage.ts";
import type { StalledChild } from "./explanation.ts";

/** Whether the run is suspended and waits for children. */
export function isAwaiting({ state, waits }: Run): boolean {
  return "children" in state && (state.children > 0 || waits.some(({ type }) => type === "child"));
}

/** One stalled child of each of these runs, if it has any. */
export async function stalledChildren(reader: Reader, runs: Run[]): Promise<Map<RunId, StalledChild>> {
  const stalled = new Map<RunId, StalledChild>();
  const children: Run[] = [];
  const load = (ids: RunId[]) => reader.load(ids);
  for await (const some of runs.length === 0 ? [] : inBatches(reader.stalledChildren(runs.map(({ id }) => id)), load)) {
    children.push(...some.map((child) => ({ ...child, waits: [] })));
  }
  const awaited = children.length === 0 ? new Set() : await firstWaits(reader, runs, children);
  for (const child of children) {
    if (child.parent !== null) {
      stalled.set(child.parent.id, { child, isAwaited: awaited.has(child.id) });
    }
  }
  return stalled;
}

/** The ids of the children for which the first wait of the parent is open. */
export async function firstWaits(
  reader: Reader,
  parents: readonly Run[],
  children: readonly Run[],
): Promise<Set<RunId>> {
  const attempts = new Map(parents.map(({ id, attempt }) => [id, attempt]));
  const waits = children.flatMap(({ id, parent }) =>
    parent === null
      ? []
      : { id, runId: parent.id, attempt: attempts.get(parent.id) ?? 0, wait: childWaitAddress(parent.address, 0) },
  );
  const keys = waits.flatMap(({ runId, attempt, wait }) =>
    [openedWaitAddress(wait), wait, withdrawnAddress(wait)].map((address) => ({ runId, attempt, address })),
  );
  const recorded = new Set((await reader.entriesAt(keys)).map(({ runId, address }) => `${runId} ${address}`));
  const isOpen = ({ runId, wait }: { runId: RunId; wait: Address }) =>
    recorded.has(`${runId} ${openedWaitAddress(wait)}`) &&
    !recorded.has(`${runId} ${wait}`) &&
    !recorded.has(`${runId} ${withdrawnAddress(wait)}`);
  return new Set(waits.filter(isOpen).map(({ id }) => id));
}
