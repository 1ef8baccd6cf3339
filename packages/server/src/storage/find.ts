/** How a list of runs is read, alike in every dialect: from which index, how far, and where the next page begins. */

import { type FindRequest, limits, type RunId, type RunStatus } from "@aikirun/lib/protocol";
import type { Run, WholeRun } from "../core/run.ts";
import { wholeRun } from "../core/unread.ts";

/** The place of a run in a list: runs are ordered by when they were created and, within one millisecond, by id. */
export interface ListPosition {
  createdAt: number;
  id: RunId;
}

export interface ListLimits {
  /** Runs of the page at most. */
  limit: number;
  /** Rows that may be examined for the page at most: when they are, it holds what was found among them. */
  scan: number;
  /** Where the page before ended; null for the first page. */
  after: ListPosition | null;
}

/** A page may be short, or empty, and still not be the last one. */
export interface ListPage {
  /** Without `input` and, of a completed run, `output`: a page of them may be hundreds of megabytes. */
  runs: WholeRun[];
  /** Where the next page begins; null when this is the last one. */
  next: ListPosition | null;
}

/** The runs that one range of one index holds. */
export type SourcePart =
  | { type: "namespace" | "name" | "reference" | "parent" | "error" }
  | { type: "tag"; tag: string }
  | { type: "status"; status: RunStatus };

/** Where the runs of a list are looked for: every run of the list is in one of the parts. */
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

/** A source with at most so many runs is small: it may be read as a whole. */
const small = 1_000;

/** Up to how many runs of a source are counted. */
export function countedOf({ scan }: ListLimits): number {
  return Math.min(small, scan) + 1;
}

/** The sources that a request can be answered from besides all runs of the namespace, the best guess first. */
export function narrowSources({ name, status, referenceId, parentId, tags, errorCode }: FindRequest): ListSource[] {
  const sources: ListSource[] = [];
  if (referenceId !== undefined) sources.push({ parts: [{ type: "reference" }], isOrdered: false });
  if (parentId !== undefined) sources.push({ parts: [{ type: "parent" }], isOrdered: true });
  for (const tag of new Set(tags)) sources.push({ parts: [{ type: "tag", tag }], isOrdered: true });
  if (errorCode !== undefined) sources.push({ parts: [{ type: "error" }], isOrdered: true });
  // Most runs are completed: no index holds them.
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

/** `found`: what fits, in order, one more than the page takes if there is more. `reached`: null at the end. */
export function listPage(found: Run[], limit: number, reached: ListPosition | null): ListPage {
  const runs = found.slice(0, Math.max(0, limit)).map(wholeRun);
  const last = runs.at(-1);
  const isCut = found.length > runs.length && last !== undefined;
  return { runs, next: isCut ? { createdAt: last.createdAt, id: last.id } : reached };
}

export function withoutPayloads(run: Run): Run {
  return { ...run, input: null, state: run.state.status === "completed" ? { status: "completed" } : run.state };
}

/** The code under which a failed run is listed; null for a code that is longer than any that can be asked for. */
export function errorCodeOf({ state }: Pick<Run, "state">): string | null {
  if (state.status !== "failed" || state.error.code === undefined) return null;
  const code = String(state.error.code);
  return code.length <= limits.nameLength ? code : null;
}
