/**
 * Which code of which run is being executed. Every durable call enters a new point, which its code carries along
 * through `await`, timers and I/O: so a later call knows from which branch it is made.
 */

import { AsyncLocalStorage } from "node:async_hooks";

/** The execution that code belongs to. */
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
   * Calls that are made together have the same: those of one drain, and late ones without awaiting anything between
   * them. Null at the root of a branch.
   */
  readonly together: object | null;
  /** The branch in which code began these microtasks. */
  readonly origin: string;
  /**
   * In a later attempt: code came here another way than before, because a call that had failed came to something else.
   */
  isChanged: boolean;
  /** The call that entered this point, while it is open; null at the root of a branch. */
  call: { readonly open: boolean } | null;
  /** The task or step whose work this is, as errors call it; null in the handler itself. */
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

/** Everything that the current code does from here on happens at this point. */
export function enterPoint(point: Point): void {
  points.enterWith(point);
}

/** Calls `work` at this point; the caller's own point stays as it is. */
export function runAt<Result>(point: Point, work: () => Result): Result {
  return points.run(point, work);
}

/** Calls `work` outside of every handler, so that nothing it begins keeps one in memory, or is taken for its. */
export function runOutside<Result>(work: () => Result): Result {
  return points.run(undefined, work);
}

/** The execution whose handler, task or step the current code belongs to; null when it belongs to none. */
export function ownerOfCurrentCode(): CodeOwner | null {
  return points.getStore()?.owner ?? null;
}
