/**
 * How every dialect stores runs in a table. Values that statements compare or index have columns. Payloads have columns
 * that hold them exactly as they were received. The rest of a run is one JSON text.
 */

import { AikiError } from "@aikirun/lib";
import type { Build, Payload } from "@aikirun/lib/protocol";
import { holderOf } from "../core/claim.ts";
import type { Arrivals, Run, RunOptions, State, Unread, Wait } from "../core/run.ts";
import { isUnread, lightBytes, loadedBytes, type Payloads } from "../core/unread.ts";
import { errorCodeOf } from "./find.ts";
import { fromText, toText } from "./text.ts";

/** The value of one column. */
export type Cell = string | number | bigint | null;

/** One row that the database returned, by column. */
export type Row = Readonly<Record<string, unknown>>;

/** The part of a run's row that a change replaces. */
export interface ChangingColumns {
  status: string;
  dueAt: number | null;
  revision: number;
  fence: number;
  updatedAt: number;
  session: string | null;
  claimId: string | null;
  output: string | null;
  state: string;
  /** See `errorCodeOf`. */
  errorCode: string | null;
  /** Since when the run is queued, in epoch milliseconds; null in other statuses. */
  queuedAt: number | null;
  /** Why the run is stalled; null in other statuses. */
  stallReason: string | null;
}

/** The part of a run's row that its start fixes. */
export interface FixedColumns {
  id: string;
  namespace: string;
  name: string;
  versionId: string;
  shardKey: string | null;
  priority: number;
  referenceId: string | null;
  parentId: string | null;
  parentAddress: string | null;
  /** 1 when the run ends with its parent. */
  follows: number;
  createdAt: number;
  input: string | null;
  options: string;
}

/** The JSON text of a run's row. `events` is a list, so that no event name is ever a key. */
interface Rest {
  state: State;
  since: number;
  waits: Wait[];
  events: Array<[name: string, arrived: number, taken: number, returned?: readonly number[]]>;
  timeoutAt: number | null;
  inbox: number;
  attempt: number;
  /** Absent before the first report that names one. */
  build?: Build | undefined;
  crashes: number;
  lostLeases: number;
  children: number;
  reported: Run["reported"];
  lastError: Run["lastError"];
}

export function fixedColumns(run: Run): FixedColumns {
  return {
    id: toText(run.id),
    namespace: toText(run.namespace),
    name: toText(run.name),
    versionId: toText(run.versionId),
    shardKey: optionalText(run.shardKey),
    priority: run.priority,
    referenceId: optionalText(run.referenceId),
    parentId: optionalText(run.parent?.id),
    parentAddress: optionalText(run.parent?.address),
    follows: run.parent !== null && run.options.onParentEnd !== "abandon" ? 1 : 0,
    createdAt: run.createdAt,
    input: optionalText(whole(run.input)),
    options: JSON.stringify(run.options),
  };
}

export function changingColumns(run: Run): ChangingColumns {
  const { state } = run;
  const running = state.status === "running" ? state : null;
  const completed = state.status === "completed" && state.output !== undefined;
  const rest: Rest = {
    state: completed ? { status: "completed" } : state,
    since: run.since,
    waits: run.waits,
    events: [...run.events].map(([name, { arrived, taken, returned }]) =>
      returned === undefined ? [name, arrived, taken] : [name, arrived, taken, returned],
    ),
    timeoutAt: run.timeoutAt,
    inbox: run.inbox,
    attempt: run.attempt,
    build: run.build ?? undefined,
    crashes: run.crashes,
    lostLeases: run.lostLeases,
    children: run.children,
    reported: run.reported,
    lastError: run.lastError,
  };
  return {
    status: state.status,
    dueAt: run.dueAt,
    revision: run.revision,
    fence: run.fence,
    updatedAt: run.updatedAt,
    session: optionalText(holderOf(state)),
    claimId: optionalText(running?.claimId),
    output: completed ? optionalText(whole(state.output)) : null,
    state: JSON.stringify(rest),
    errorCode: optionalText(errorCodeOf(run)),
    queuedAt: state.status === "queued" ? run.since : null,
    stallReason: state.status === "stalled" ? state.reason : null,
  };
}

/** Reads a row of `run` that also holds `tail` and `recorded_at`, the `seq` and the time of its last entry. */
export function runOf(row: Row): Run {
  return readable(row.id, () => readRun(row));
}

function readRun(row: Row): Run {
  const rest: Rest = JSON.parse(textOf(row, "state"));
  const options: RunOptions = JSON.parse(textOf(row, "options"));
  const output = payloadOf(row, "output");
  const parentId = optionalTextOf(row, "parent_id");
  const events = rest.events.map(([name, arrived, taken, returned]): [string, Arrivals] => [
    name,
    returned === undefined ? { arrived, taken } : { arrived, taken, returned },
  ]);
  return {
    id: fromText(textOf(row, "id")),
    namespace: fromText(textOf(row, "namespace")),
    name: fromText(textOf(row, "name")),
    versionId: fromText(textOf(row, "version_id")),
    shardKey: optionalTextOf(row, "shard_key"),
    priority: numberOf(row, "priority"),
    input: payloadOf(row, "input"),
    options,
    referenceId: optionalTextOf(row, "reference_id"),
    parent: parentId === null ? null : { id: parentId, address: fromText(textOf(row, "parent_address")) },
    createdAt: numberOf(row, "created_at"),
    updatedAt: Math.max(numberOf(row, "updated_at"), row.recorded_at === null ? 0 : numberOf(row, "recorded_at")),
    state: output === null ? rest.state : { status: "completed", output },
    since: rest.since,
    waits: rest.waits,
    events: new Map(events),
    timeoutAt: rest.timeoutAt,
    dueAt: row.due_at === null ? null : numberOf(row, "due_at"),
    revision: numberOf(row, "revision"),
    fence: numberOf(row, "fence"),
    inbox: rest.inbox,
    attempt: rest.attempt,
    build: rest.build ?? null,
    crashes: rest.crashes,
    lostLeases: rest.lostLeases,
    children: rest.children,
    reported: rest.reported,
    lastError: rest.lastError,
    tail: row.tail === null ? 0 : numberOf(row, "tail"),
  };
}

/**
 * The columns of a row of `run`, without large payloads and, for `many` rows, without a large state: its size is in
 * `state_bytes` instead. `bytesOf` is the dialect's expression for the size of a text.
 */
export function loadedColumns(bytesOf: (text: string) => string, count: "one" | "many"): string {
  const own = [
    "id",
    "namespace",
    "name",
    "version_id",
    "shard_key",
    "priority",
    "reference_id",
    "parent_id",
    "parent_address",
    "created_at",
    "options",
    "due_at",
    "revision",
    "fence",
    "updated_at",
  ];
  const payloads = ["input", "output"].map((column) => orBytes(column, loadedBytes, bytesOf));
  const state = count === "one" ? "run.state" : orBytes("state", lightBytes, bytesOf);
  return [...own.map((column) => `run.${column}`), ...payloads, state].join(", ");
}

/** The column if it has at most `most` bytes, and its size. */
export function orBytes(column: string, most: number, bytesOf: (text: string) => string): string {
  const bytes = bytesOf(`run.${column}`);
  return `CASE WHEN ${bytes} <= ${most} THEN run.${column} END AS ${column}, ${bytes} AS ${column}_bytes`;
}

/** A run with fewer waits and events than this and without an error is never heavy. */
const few = 20;

/** The size of a heavy row's state in storage; 0 for other rows. Bytes. */
export function heavyBytes(run: Run): number {
  const { state, waits, events, lastError } = run;
  if (
    waits.length + events.size < few &&
    lastError === null &&
    state.status !== "failed" &&
    state.status !== "stalled"
  ) {
    return 0;
  }
  const bytes = Buffer.byteLength(changingColumns(run).state);
  return bytes > lightBytes ? bytes : 0;
}

/** If a payload is too large to be loaded, the row has its size instead: `input_bytes`, `output_bytes`. */
function payloadOf(row: Row, column: "input" | "output"): Payload | Unread | null {
  const text = optionalTextOf(row, column);
  const bytes = row[`${column}_bytes`];
  return text === null && bytes !== null && bytes !== undefined ? { bytes: numberOf(row, `${column}_bytes`) } : text;
}

/** A row that was loaded without a large payload must not overwrite that payload. */
function whole(payload: Payload | Unread | null | undefined): Payload | null | undefined {
  if (isUnread(payload)) throw new Error("A payload that was not loaded cannot be written.");
  return payload;
}

export function payloadsOf(row: Row): Payloads {
  return readable(row.id, () => ({ input: optionalTextOf(row, "input"), output: optionalTextOf(row, "output") }));
}

export function optionalText(value: string | null | undefined): string | null {
  return value === null || value === undefined ? null : toText(value);
}

export function optionalTextOf(row: Row, column: string): string | null {
  return row[column] === null ? null : fromText(textOf(row, column));
}

export function textOf(row: Row, column: string): string {
  const cell = row[column];
  if (typeof cell !== "string") throw unreadable(column);
  return cell;
}

export function numberOf(row: Row, column: string): number {
  const cell = row[column];
  if (typeof cell === "number") return cell;
  if (typeof cell === "bigint") return Number(cell);
  throw unreadable(column);
}

export function readable<Read>(runId: unknown, read: () => Read): Read {
  try {
    return read();
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    const id = String(runId);
    throw new AikiError("ROW_UNREADABLE", `A row of run ${id} cannot be read. Mend it, or restore a backup. ${said}`, {
      cause,
      ids: { runId: id },
    });
  }
}

export function unreadable(column: string): AikiError {
  return new AikiError("ROW_UNREADABLE", `Column ${column} holds something that Aiki did not write.`, {
    ids: { column },
  });
}
