/** How every dialect reads a list of runs: from which index, how many rows, and where the next page begins. */

import { type FindRequest, limits, type RunId, type RunStatus } from "@aikirun/lib/protocol";
import type { Run, WholeRun } from "../core/run.ts";
import { wholeRun } from "../core/unread.ts";

/** The position of a run in a list. Runs are ordered by creation time, then by id. */
export interface ListPosition {
  createdAt: number;
  id: RunId;
}

export interface ListLimits {
  /** The maximum number of runs in the page. */
  limit: number;
  /** The maximum number of rows to examine. When it is reached, the page ends with the runs found so far. */
  scan: number;
  /** Where the previous page ended; null for the first page. */
  after: ListPosition | null;
}

/** A page that is short or empty may still not be the last one. */
export interface ListPage {
  /** Without `input` and `output`, because a page with them could take hundreds of megabytes. */
  runs: WholeRun[];
  /** Where the next page begins; null when this is the last one. */
  next: ListPosition | null;
}

/** The runs in one range of one index. */
export type SourcePart =
  | { type: "namespace" | "id" | "name" | "reference" | "parent" | "error" }
  | { type: "tag"; tag: string }
  | { type: "status"; status: RunStatus };

/** The index ranges in which the runs of a list are searched: every run of the list is in one of the parts. */
export interface ListSource {
  parts: readonly SourcePart[];
  /**
   * Whether each part can be read in the order of the list, from its position and between its dates. If one cannot, the
   * source is counted and read as a whole: its rows are examined for the namespace, the position and the dates too.
   */
  isOrdered: boolean;
}

/** All runs of the namespace. */
const everything: ListSource = { parts: [{ type: "namespace" }], isOrdered: true };

/** A source with at most this many runs is small: it may be read as a whole. */
const small = 1_000;

/** Counting the runs of a source stops at this number. */
export function countedOf({ scan }: ListLimits): number {
  return Math.min(small, scan) + 1;
}

/** The sources that contain all results of a request and are smaller than the namespace, the best guess first. */
export function narrowSources(request: FindRequest): ListSource[] {
  const { idPrefix, name, status, referenceId, parentId, tags, errorCode } = request;
  const sources: ListSource[] = [];
  if (idPrefix !== undefined) sources.push({ parts: [{ type: "id" }], isOrdered: false });
  if (referenceId !== undefined) sources.push({ parts: [{ type: "reference" }], isOrdered: false });
  if (parentId !== undefined) sources.push({ parts: [{ type: "parent" }], isOrdered: true });
  for (const tag of new Set(tags)) sources.push({ parts: [{ type: "tag", tag }], isOrdered: true });
  if (errorCode !== undefined) sources.push({ parts: [{ type: "error" }], isOrdered: true });
  // Most runs are completed, so no index by status contains completed runs.
  if (status !== undefined && !status.includes("completed")) sources.push(statusSource(status));
  if (name !== undefined) sources.push({ parts: [{ type: "name" }], isOrdered: true });
  return sources;
}

function statusSource(status: RunStatus[]): ListSource {
  const parts = [...new Set(status)].map((one): SourcePart => ({ type: "status", status: one }));
  return { parts, isOrdered: !status.includes("queued") && !status.includes("running") };
}

/** Whether sources must be counted before one is chosen. */
export function isChoice([first, second]: readonly ListSource[]): boolean {
  return second !== undefined || first?.isOrdered === false;
}

/** The source to read: the smallest if it is small, else the first that can be read in order. */
export function chosenSource(
  sources: readonly ListSource[],
  counts: readonly number[],
  listLimits: ListLimits,
): ListSource {
  const least = Math.min(...counts);
  const smallest = least < countedOf(listLimits) ? sources[counts.indexOf(least)] : undefined;
  return smallest ?? sources.find(({ isOrdered }) => isOrdered) ?? everything;
}

/** A text that follows, in the order of a database, all ids with this prefix: `g` follows every character of an id. */
export function afterIds(idPrefix: string): string {
  return `${idPrefix}g`;
}

/** `found`: matching runs in order, one more than the page takes if there are more. `reached`: null at the end. */
export function listPage(found: Run[], limit: number, reached: ListPosition | null): ListPage {
  const runs = found.slice(0, Math.max(0, limit)).map(wholeRun);
  const last = runs.at(-1);
  const isCut = found.length > runs.length && last !== undefined;
  return { runs, next: isCut ? { createdAt: last.createdAt, id: last.id } : reached };
}

export function withoutPayloads(run: Run): Run {
  return { ...run, input: null, state: run.state.status === "completed" ? { status: "completed" } : run.state };
}

/** The error code under which a failed run is listed; null if the code is longer than a request may contain. */
export function errorCodeOf({ state }: Pick<Run, "state">): string | null {
  if (state.status !== "failed" || state.error.code === undefined) return null;
  const code = String(state.error.code);
  return code.length <= limits.nameLength ? code : null;
}
