/** Starts of runs: new runs are inserted; a run that exists answers a repeated start, or refuses another one. */

import type { RunId, StartResult } from "@aikirun/lib/protocol";
import type { DecisionContext, Run } from "../core/run.ts";
import { isSameStart, openRun } from "../core/start.ts";
import { isUnread } from "../core/unread.ts";
import type { Transaction } from "../storage/storage.ts";
import { textBytes } from "../storage/text.ts";
import { notFound, type Operation } from "./operation.ts";
import type { UnitOfWork } from "./unit-of-work.ts";
import { whole } from "./whole.ts";

export type StartOperation = Extract<Operation, { type: "start" }>;

export async function insertStarts(
  transaction: Transaction,
  work: UnitOfWork,
  operations: Operation[],
  moment: DecisionContext,
): Promise<Map<StartOperation, StartResult>> {
  const results = new Map<StartOperation, StartResult>();
  const starts = operations.filter((operation): operation is StartOperation => operation.type === "start");
  if (starts.length === 0) {
    return results;
  }
  const opened = new Map<RunId, Run>();
  for (const { namespace, spec } of starts) {
    if (!opened.has(spec.id)) {
      opened.set(spec.id, openRun(namespace, spec, moment));
    }
  }
  const inserted = new Set(await transaction.insert([...opened.values()]));
  for (const id of inserted) {
    const run = opened.get(id);
    if (run !== undefined) {
      work.adopt(run);
    }
  }
  const created = new Set<RunId>();
  const taken: StartOperation[] = [];
  for (const operation of starts) {
    const { id } = operation.spec;
    if (inserted.has(id) && !created.has(id)) {
      created.add(id);
      results.set(operation, { ok: true, id, created: true });
    } else {
      taken.push(operation);
    }
  }
  if (taken.length > 0) {
    await resolveTaken(transaction, taken, results);
  }
  return results;
}

/** Starts whose run already exists: a repeated start, a start with the same reference, or a conflict. */
async function resolveTaken(
  transaction: Transaction,
  taken: StartOperation[],
  results: Map<StartOperation, StartResult>,
): Promise<void> {
  const loaded = await withAlike(transaction, taken, await transaction.load(taken.map(({ spec }) => spec.id)));
  const byId = new Map(loaded.map((run) => [run.id, run]));
  const keys = taken.flatMap(({ namespace, spec: { name, referenceId } }) =>
    referenceId === undefined ? [] : [{ namespace, name, referenceId }],
  );
  const referenced = keys.length === 0 ? [] : await transaction.referenced(keys);
  for (const operation of taken) {
    const { namespace, spec } = operation;
    const run = byId.get(spec.id);
    const holder = referenced.find(
      (other) => other.referenceId === spec.referenceId && other.name === spec.name && other.namespace === namespace,
    );
    results.set(operation, run === undefined ? sameReference(operation, holder) : sameId(operation, run));
  }
}

function sameId({ namespace, spec }: StartOperation, run: Run): StartResult {
  return run.namespace === namespace && isSameStart(run, spec)
    ? { ok: true, id: run.id, created: false }
    : { ok: false, code: "RUN_ID_CONFLICT", message: `The id ${spec.id} is taken by a run with other content.` };
}

/** Reads inputs that were left in storage and have the same size as the input of the start, so they may be equal. */
async function withAlike(transaction: Transaction, taken: StartOperation[], runs: Run[]): Promise<Run[]> {
  const sizes = new Set(
    taken.flatMap(({ spec: { id, input = "" } }) =>
      [Buffer.byteLength(input), textBytes(input)].map((bytes) => `${id} ${bytes}`),
    ),
  );
  const alike = runs.filter(({ id, input }) => isUnread(input) && sizes.has(`${id} ${input.bytes}`));
  const full = new Map((await whole(transaction, alike)).map((run) => [run.id, run]));
  return runs.map((run) => full.get(run.id) ?? run);
}

function sameReference({ spec }: StartOperation, holder: Run | undefined): StartResult {
  if (holder === undefined) {
    return notFound(spec.id);
  }
  if (holder.options.inputHash === spec.inputHash || spec.onConflict === "return_existing") {
    return { ok: true, id: holder.id, created: false };
  }
  const message =
    `The reference ${spec.referenceId} of ${spec.name} is taken by run ${holder.id}, which was started with another ` +
    'input. Use another reference, or onConflict: "return_existing".';
  return { ok: false, code: "REFERENCE_CONFLICT", message };
}
