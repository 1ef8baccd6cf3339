/** What must hold after all runs have ended: in storage, in the ledger, and between the two. */

import type { Entry, RunId } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import { wholeOf } from "../../packages/server/src/core/unread.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { type Ledger, startKey } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { Nemesis } from "./nemesis.ts";
import { nonceOf } from "./nonce.ts";
import { isOver } from "./rules.ts";
import type { Users } from "./users.ts";
import type { World } from "./world.ts";

export interface EndOptions {
  world: World;
  mirror: Mirror;
  ledger: Ledger;
  users: Users;
  nemesis: Nemesis;
  storage: Storage;
  /** How often each run was lost by its holder. */
  losses: ReadonlyMap<RunId, number>;
}

export async function checkEnd(options: EndOptions): Promise<void> {
  ended(options);
  starts(options);
  results(options);
  events(options);
  effects(options);
  values(options);
  children(options);
  await durability(options);
}

/** Every run has ended, waits for nothing and has no timer. */
function ended({ world, mirror }: EndOptions): void {
  for (const run of mirror.runs.values()) {
    const name = world.names.of(run.id);
    if (!isOver(run)) {
      const waits = run.waits.map(({ type, address, until }) => `${type} ${address} ${until}`);
      const state = JSON.stringify(run.state);
      const due = run.dueAt === null ? "never" : run.dueAt - mirror.now();
      world.violate("LIVENESS", `${name} is ${state}, due ${due}, waits [${waits}], at attempt ${run.attempt}`);
    } else if (run.waits.length > 0 || run.dueAt !== null) {
      world.violate("STUCK_RUN", `${name} has ended, with ${run.waits.length} waits, due at ${run.dueAt}`);
    }
  }
}

/** Each acknowledged start has a run. */
function starts({ world, mirror, users }: EndOptions): void {
  for (const [id, { label }] of users.started) {
    if (!mirror.runs.has(id))
      world.violate("LOST_RUN", `The start of ${label} was acknowledged, but there is no run ${id}`);
  }
}

/** The result that a user received is the stored one. */
function results({ world, mirror, users }: EndOptions): void {
  for (const [id, { label }] of users.started) {
    const state = mirror.runs.get(id)?.state;
    const seen = users.results.get(id);
    if (state === undefined || !isFinalState(state)) continue;
    const expected =
      state.status === "completed"
        ? `completed ${JSON.parse(wholeOf(state.output ?? "null", id))}`
        : state.status === "failed"
          ? "RUN_FAILED"
          : "RUN_CANCELLED";
    if (seen !== expected) world.violate("RESULT", `The user received ${seen} from ${label}, not ${expected}`);
  }
}

function isFinalState(
  state: Run["state"],
): state is Extract<Run["state"], { status: "completed" | "failed" | "cancelled" }> {
  return state.status === "completed" || state.status === "failed" || state.status === "cancelled";
}

/** Each acknowledged event is recorded once, and no other event is recorded. */
function events({ world, mirror, users }: EndOptions): void {
  const arrived = new Map<string, number>();
  for (const { id: runId } of mirror.runs.values()) {
    for (const { value, attempt, fence } of mirror.journal(runId)) {
      if (value.type !== "arrived" || value.data === undefined) continue;
      const { id }: { id: string } = JSON.parse(value.data);
      const isReused = attempt === 0 && fence === 0 && mirror.runs.get(runId)?.options.retryOf !== undefined;
      if (!users.sentIds.has(id)) world.violate("EVENT", `${id} arrived, but was not sent`);
      if (!isReused) arrived.set(id, (arrived.get(id) ?? 0) + 1);
    }
  }
  for (const [id, count] of arrived) if (count > 1) world.violate("EVENT", `${id} arrived ${count} times`);
  for (const { id, runId, name } of users.sent) {
    const isThere = mirror
      .journal(runId)
      .some(({ value }) => value.type === "arrived" && value.data?.includes(`"${id}"`));
    if (!isThere)
      world.violate("EVENT", `${name} ${id} to ${world.names.of(runId)} was acknowledged, but is not recorded`);
  }
}

/** An effect happens once, and at most once more for each time that a worker lost the run. */
function effects({ world, ledger, losses, nemesis }: EndOptions): void {
  const seen = new Set<string>();
  for (const effect of ledger.effects) {
    const key = startKey(effect);
    if (seen.has(key)) continue;
    seen.add(key);
    const count = ledger.starts.get(key) ?? 0;
    const allowed = 1 + (losses.get(effect.runId) ?? 0) + (nemesis.gracefulStops.get(effect.runId) ?? 0);
    if (count > allowed && !ledger.wasRefused(effect.runId)) {
      const name = world.names.of(effect.runId);
      world.violate(
        "REPEATED_EFFECT",
        `${effect.nonce} of ${name}, attempt ${effect.try}, began ${count} times; faults explain ${allowed}`,
      );
    }
  }
}

/** A recorded result was returned by a body of the run or of a run that it retries. */
function values({ world, mirror, ledger }: EndOptions): void {
  const made = new Set(ledger.effects.map(({ runId, nonce }) => `${runId} ${nonce}`));
  for (const run of mirror.runs.values()) {
    for (const entry of mirror.journal(run.id)) {
      const { value, address } = entry;
      if (value.type !== "returned" || !/^(task|step):/.test(address)) continue;
      const nonce = nonceOf(entry);
      if (!lineage(mirror, run).some((id) => made.has(`${id} ${nonce}`))) {
        world.violate(
          "RESULT",
          `${address} of ${world.names.of(run.id)} is recorded as ${nonce}, which no body returned`,
        );
      }
    }
  }
}

function lineage(mirror: Mirror, run: Run): RunId[] {
  const { retryOf } = run.options;
  const before = retryOf === undefined ? undefined : mirror.runs.get(retryOf);
  return before === undefined ? [run.id] : [run.id, ...lineage(mirror, before)];
}

/** Each started child exists with its parent and address, and each child has its parent. */
function children({ world, mirror }: EndOptions): void {
  for (const run of mirror.runs.values()) {
    const name = world.names.of(run.id);
    for (const { value, address, attempt } of mirror.journal(run.id)) {
      if (value.type !== "started" || attempt === 0) continue;
      const child = mirror.runs.get(value.runId);
      if (child === undefined || child.parent?.id !== run.id || child.parent.address !== address) {
        world.violate("CHILD", `${name} started ${value.runId} at ${address}, but that run is not its child`);
      }
    }
    const parent = run.parent === null ? undefined : mirror.runs.get(run.parent.id);
    if (run.parent !== null && parent === undefined) world.violate("CHILD", `${name} has no parent`);
  }
}

/** Storage contains exactly what was committed. */
async function durability({ world, mirror, storage }: EndOptions): Promise<void> {
  const ids = [...mirror.runs.keys()];
  const { runs, journals } = await storage.read(async (reader) => ({
    runs: await reader.load(ids),
    journals: await reader.journal(ids.map((runId) => ({ runId, after: 0, limit: 1_000_000, bytes: 1e12 }))),
  }));
  const stored = new Map(runs.map((run) => [run.id, run]));
  for (const [index, id] of ids.entries()) {
    const row = stored.get(id);
    const expected = mirror.runs.get(id);
    const entries = journals[index] ?? [];
    if (row === undefined || expected === undefined || text(row) !== text(expected)) {
      world.violate(
        "STORAGE",
        `The row of ${world.names.of(id)} is ${row && text(row)}, not ${expected && text(expected)}`,
      );
    }
    if (ordered(entries) !== ordered(mirror.journal(id))) {
      world.violate("STORAGE", `The journal of ${world.names.of(id)} differs from what was committed`);
    }
    if (row !== undefined && row.tail !== entries.length)
      world.violate("JOURNAL_ORDER", `The tail of ${world.names.of(id)} is ${row.tail}`);
  }
}

/** A row without the columns that storage derives from the entries. */
function text({ tail: _, updatedAt: __, events, ...run }: Run): string {
  return canonical({ ...run, events: [...events] });
}

function ordered(entries: readonly Entry[]): string {
  return canonical(entries);
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
