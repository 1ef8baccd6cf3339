/**
 * Which code of which run is being executed. Every durable call enters a new point. The code after it carries the point
 * through `await`, timers and I/O, so that a later call knows its branch.
 */

import { AsyncLocalStorage } from "node:async_hooks";

/** The execution to which code belongs. */
export interface CodeOwner {
  /** Fails the run with a rejection that nothing in its handler handled. */
  reject(reason: unknown): void;
}

/** Where in a handler code is. */
export interface Point {
  readonly owner: CodeOwner;
  /** Names the branch; the same on every replay. */
  branch: string;
  /**
   * The same object for calls that are made together: calls of one drain, and late calls without an await between them.
   * Null at the root of a branch.
   */
  readonly together: object | null;
  /** The branch in which the current microtasks began. */
  readonly origin: string;
  /**
   * Whether the code reached this point by another path than before: a call that failed in an earlier attempt had
   * another result, or changed code made a recorded call from another branch.
   */
  isChanged: boolean;
  /** The call that entered this point, while it is open; null at the root of a branch. */
  call: { readonly open: boolean } | null;
  /** The task or step to which the code belongs, as named in errors; null in the handler itself. */
  readonly within: string | null;
}

/** Where a branch begins: no call was made there yet. */
export function beginningOf(owner: CodeOwner, branch: string): Point {
  return { owner, branch, origin: branch, together: null, isChanged: false, call: null, within: null };
}

/** The same point, for the work of a task or step. */
export function withinOf({ owner, branch, together, origin, isChanged }: Point, within: string): Point {
  return { owner, branch, together, origin, isChanged, call: null, within };
}

const points = new AsyncLocalStorage<Point | undefined>();

/** Where the current code is; undefined outside of every handler. */
export function currentPoint(): Point | undefined {
  return points.getStore();
}

/** Sets the point of the current code and of everything that it starts from now on. */
export function enterPoint(point: Point): void {
  points.enterWith(point);
}

/** Calls `work` at this point. The caller's own point does not change. */
export function runAt<Result>(point: Point, work: () => Result): Result {
  return points.run(point, work);
}

/** Calls `work` outside of every handler, so that nothing it starts belongs to a handler or keeps one in memory. */
export function runOutside<Result>(work: () => Result): Result {
  return points.run(undefined, work);
}

/** The execution whose handler, task or step the current code belongs to; null when it belongs to none. */
export function ownerOfCurrentCode(): CodeOwner | null {
  return points.getStore()?.owner ?? null;
}
