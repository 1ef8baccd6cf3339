/** A run as callers receive it. */

import type { RunView, Stall } from "@aikirun/lib/protocol";
import { unboundIn } from "../core/bind.ts";
import { isFinal } from "../core/draft.ts";
import type { Run, State, WholeRun } from "../core/run.ts";
import { explain, type Surroundings } from "./explanation.ts";

/** How many waits, and how many event names, a view lists at most. */
const listed = 100;

export function viewOf(run: WholeRun, around: Surroundings): RunView {
  const { state, options, input } = run;
  const unboundEvents = unboundOf(run);
  return {
    id: run.id,
    name: run.name,
    versionId: run.versionId,
    status: state.status,
    since: run.since,
    revision: run.revision,
    attempt: run.attempt,
    createdAt: run.createdAt,
    updatedAt: run.updatedAt,
    priority: run.priority,
    tags: options.tags ?? [],
    waits: run.waits.slice(0, listed).map(({ callSite: _, ...wait }) => wait),
    awaitedChildren: "children" in state ? state.children : 0,
    unboundEvents,
    dueAt: run.dueAt,
    explanation: explain(run, unboundEvents, around),
    ...(run.shardKey === null ? {} : { shardKey: run.shardKey }),
    ...(run.referenceId === null ? {} : { referenceId: run.referenceId }),
    ...(run.parent === null ? {} : { parent: run.parent }),
    ...(options.retryOf === undefined ? {} : { retryOf: options.retryOf }),
    ...(input === null ? {} : { input }),
    ...(isFinal(state) ? { outcome: state } : {}),
    ...(state.status === "stalled" ? { stall: stallOf(state) } : {}),
    ...(state.status === "running" ? { worker: state.worker } : {}),
    ...(run.lastError === null ? {} : { lastError: run.lastError }),
  };
}

function stallOf({ status: _, ...stall }: Extract<State, { status: "stalled" }>): Stall {
  return stall;
}

export function unboundOf({ events }: Run): RunView["unboundEvents"] {
  const unbound: RunView["unboundEvents"] = [];
  for (const [name, arrivals] of events) {
    const count = unboundIn(arrivals);
    if (count > 0 && unbound.length < listed) {
      unbound.push({ name, count });
    }
  }
  return unbound;
}
