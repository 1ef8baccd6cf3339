/** How every SQL dialect stores entries in a table, and how an entry is read without its value. */

import type { CallSite, Entry, Value } from "@aikirun/lib/protocol";
import type { Outline, UnreadValue } from "../core/run.ts";
import { outlinedBytes } from "../core/unread.ts";
import { numberOf, optionalText, optionalTextOf, type Row, readable, textOf, unreadable } from "./row.ts";
import { fromText, textBytes, toText } from "./text.ts";

export interface EntryColumns {
  runId: string;
  seq: number;
  address: string;
  attempt: number;
  at: number;
  fence: number;
  worker: string | null;
  startedAt: number | null;
  type: string;
  payload: string | null;
  /** JSON of the value without its type and payload; null when nothing remains. */
  detail: string | null;
  /** The durable call: `<madeAfter> <identity>`, with ` <branch>` (or ` -`) and ` <alike>` where there is one. */
  callSite: string | null;
}

export function entryColumns(entry: Entry): EntryColumns {
  const { payload, detail } = splitValue(entry.value);
  return {
    runId: toText(entry.runId),
    seq: entry.seq,
    address: toText(entry.address),
    attempt: entry.attempt,
    at: entry.at,
    fence: entry.fence,
    worker: optionalText(entry.worker),
    startedAt: entry.startedAt ?? null,
    type: entry.value.type,
    payload: optionalText(payload),
    detail: detail === null ? null : JSON.stringify(detail),
    callSite: callSiteColumn(entry.callSite),
  };
}

export function entryOf(row: Row): Entry {
  return readable(row.run_id, () => ({ ...readPlace(row), value: readValue(row) }));
}

function readPlace(row: Row): Omit<Entry, "value"> {
  const worker = optionalTextOf(row, "worker");
  const entry: Omit<Entry, "value"> = {
    runId: fromText(textOf(row, "run_id")),
    seq: numberOf(row, "seq"),
    address: fromText(textOf(row, "address")),
    attempt: numberOf(row, "attempt"),
    at: numberOf(row, "at"),
    fence: numberOf(row, "fence"),
  };
  if (worker !== null) entry.worker = worker;
  if (row.started_at !== null) entry.startedAt = numberOf(row, "started_at");
  const callSite = optionalTextOf(row, "call_site");
  if (callSite !== null) entry.callSite = callSiteOf(callSite);
  return entry;
}

function readValue(row: Row): Value {
  return joinValue(textOf(row, "type"), optionalTextOf(row, "payload"), row.detail);
}

/** The SQL expressions of a dialect that the columns of an outline need. */
export interface OutlineDialect {
  /** The size of a text. */
  bytesOf(text: string): string;
  /** Whether a text holds another one. */
  holds(text: string, part: string): string;
}

/** The columns of an entry, without its value if the value is large. */
export function outlineColumns({ bytesOf }: OutlineDialect): string {
  return placeAnd(`${valueSize(bytesOf)} <= ${outlinedBytes}`, bytesOf);
}

/**
 * The same columns, but with values only for marks that have an identity: other values do not decide which entries a
 * retried run reuses.
 */
export function reusedColumns({ bytesOf, holds }: OutlineDialect): string {
  return placeAnd(`entry.type = 'marked' AND ${holds("entry.detail", '"identity":')}`, bytesOf);
}

function valueSize(bytesOf: OutlineDialect["bytesOf"]): string {
  return `coalesce(${bytesOf("entry.payload")}, 0) + coalesce(${bytesOf("entry.detail")}, 0)`;
}

/** `left_bytes` is the size of a value that is left in storage, else null. */
function placeAnd(isLoaded: string, bytesOf: OutlineDialect["bytesOf"]): string {
  const place = ["run_id", "seq", "address", "attempt", "at", "fence", "worker", "started_at", "type", "call_site"];
  return [
    ...place.map((column) => `entry.${column}`),
    `CASE WHEN ${isLoaded} THEN entry.payload END AS payload`,
    `CASE WHEN ${isLoaded} THEN entry.detail END AS detail`,
    `CASE WHEN ${isLoaded} THEN NULL ELSE ${valueSize(bytesOf)} END AS left_bytes`,
  ].join(", ");
}

/** Reads a row with such columns. */
export function outlineOf(row: Row): Outline {
  return readable(row.run_id, () => ({
    ...readPlace(row),
    value: row.left_bytes === null ? readValue(row) : unread(typeOf(row), numberOf(row, "left_bytes")),
  }));
}

/** The entry without a value that is left in storage. */
export function outlined(entry: Entry): Outline {
  const bytes = storedBytes(entry.value);
  return bytes <= outlinedBytes ? entry : { ...entry, value: unread(entry.value.type, bytes) };
}

function unread(of: Value["type"], bytes: number): UnreadValue {
  return { type: "unread", of, bytes };
}

/** The size of a value in storage. Bytes. */
export function storedBytes(value: Value): number {
  const { payload, detail } = splitValue(value);
  return (payload === undefined ? 0 : textBytes(payload)) + (detail === null ? 0 : textBytes(JSON.stringify(detail)));
}

export function callSiteColumn(callSite: CallSite | undefined): string | null {
  return callSite === undefined ? null : toText(callSiteText(callSite));
}

/** Written in place of a missing branch. */
const noBranch = "-";

/** Identities and branches contain no space. */
function callSiteText({ madeAfter, identity, branch, alike }: CallSite): string {
  if (branch === undefined && alike === undefined) return `${madeAfter} ${identity}`;
  return [madeAfter, identity, branch ?? noBranch, ...(alike === undefined ? [] : [alike])].join(" ");
}

function callSiteOf(text: string): CallSite {
  const [madeAfter, identity, branch, alike] = text.split(" ");
  if (identity === undefined || !Number.isInteger(Number(madeAfter))) throw unreadable("call_site");
  const callSite: CallSite = { madeAfter: Number(madeAfter), identity };
  if (branch !== undefined && branch !== noBranch) callSite.branch = branch;
  if (alike !== undefined) callSite.alike = Number(alike);
  return callSite;
}

/** Separates the payload of a value from the rest, which is JSON written by Aiki. */
function splitValue(value: Value): { payload: string | undefined; detail: object | null } {
  switch (value.type) {
    case "returned":
      return { payload: value.output, detail: null };
    case "observed":
      return { payload: value.data, detail: null };
    case "arrived":
      return { payload: value.data, detail: { name: value.name } };
    case "asked":
      return { payload: undefined, detail: null };
    case "withdrawn":
      return { payload: undefined, detail: value.wait === undefined ? null : value };
    case "threw":
    case "retrying":
    case "reused":
    case "started":
    case "elapsed":
    case "received":
    case "marked":
      return { payload: undefined, detail: value };
    default:
      return value satisfies never;
  }
}

const valueTypes: Readonly<Record<Value["type"], true>> = {
  returned: true,
  threw: true,
  retrying: true,
  observed: true,
  asked: true,
  reused: true,
  withdrawn: true,
  started: true,
  elapsed: true,
  received: true,
  arrived: true,
  marked: true,
};

function typeOf(row: Row): Value["type"] {
  const type = textOf(row, "type");
  if (!isValueType(type)) throw unreadable("type");
  return type;
}

function isValueType(type: string): type is Value["type"] {
  return Object.hasOwn(valueTypes, type);
}

function joinValue(type: string, payload: string | null, detail: unknown): Value {
  if (type === "returned") return payload === null ? { type } : { type, output: payload };
  if (type === "observed" && payload !== null) return { type, data: payload };
  if (type === "asked" || (type === "withdrawn" && detail === null)) return { type };
  if (typeof detail !== "string") throw unreadable("detail");
  const rest: Value = JSON.parse(detail);
  if (type !== "arrived") return rest;
  const { name }: { name: string } = JSON.parse(detail);
  return payload === null ? { type, name } : { type, name, data: payload };
}
