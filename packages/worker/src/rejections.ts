/**
 * A run's code may leave a promise without a handler. When such a promise rejects, its run fails, and the process
 * continues.
 *
 * Node emits "unhandledRejection" in an async context of the promise. Node 20 and 22 use the context in which the
 * promise was created, Node 24 and Deno the one in which it was rejected. So an AsyncLocalStorage returns the run.
 *
 * A listener for this event is not enough. If the process has a listener, Node treats every rejection as handled. And
 * the listeners of the application would also receive the rejections of runs. So `process.emit` is wrapped. For a
 * rejection that belongs to no run, Node receives the result of the original `emit`, as it does without a worker.
 *
 * Not covered: `--unhandled-rejections=strict` ends the process before Node emits the event. `=warn` also prints its
 * warning for the rejections of runs. Bun emits the event outside of any context, so the run is unknown.
 */

import process from "node:process";
import { hasMethods } from "@aikirun/lib/internal";

/** The run to which the code in the current async context belongs. */
export interface RejectionTarget {
  /** Fails the run with this reason. */
  reject(reason: unknown): void;
}

/** Starts to watch for rejections. The returned function ends the watch. All watches share one wrapper. */
export type Watch = () => () => void;

export function rejections(ownerOf: () => RejectionTarget | null): Watch {
  let watches = 0;
  let unhook: () => void = () => {};
  return () => {
    watches += 1;
    if (watches === 1) unhook = hook(ownerOf);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      watches -= 1;
      if (watches === 0) unhook();
    };
  };
}

function hook(ownerOf: () => RejectionTarget | null): () => void {
  if (process.versions.bun !== undefined) return () => {};
  const target: unknown = globalThis;
  return process.versions.deno !== undefined && isEventTarget(target) ? hookEvent(ownerOf, target) : hookEmit(ownerOf);
}

/** Node calls `process.emit` for each rejection, and treats it as handled if the result is `true`. */
function hookEmit(ownerOf: () => RejectionTarget | null): () => void {
  const taken = new WeakSet<WeakKey>();
  const claims = (event: unknown, first: unknown, second: unknown): boolean => {
    // The application did not receive the rejection, so it must not receive "rejectionHandled" either.
    if (event === "rejectionHandled") return isObject(first) && taken.delete(first);
    if (event !== "unhandledRejection") return false;
    const owner = ownerOf();
    if (owner === null) return false;
    if (isObject(second)) taken.add(second);
    owner.reject(first);
    return true;
  };
  const { emit } = process;
  const before = Object.getOwnPropertyDescriptor(process, "emit");
  let isOver = false;
  const wrapped = function (this: unknown, ...args: unknown[]): unknown {
    return (!isOver && claims(args[0], args[1], args[2])) || Reflect.apply(emit, this, args);
  };
  Object.defineProperty(process, "emit", { value: wrapped, configurable: true, enumerable: false, writable: true });
  return () => {
    isOver = true;
    // Other code has wrapped this wrapper and calls it. So it stays installed, and only calls the original `emit`.
    if (!Object.is(process.emit, wrapped)) return;
    if (before === undefined) Reflect.deleteProperty(process, "emit");
    else Object.defineProperty(process, "emit", before);
  };
}

/** Deno dispatches an event for each rejection. It does nothing else if a listener prevents and stops the event. */
export function hookEvent(ownerOf: () => RejectionTarget | null, target: EventTarget): () => void {
  const claim = (event: Event) => {
    const owner = ownerOf();
    if (owner === null) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    owner.reject("reason" in event ? event.reason : undefined);
  };
  target.addEventListener("unhandledrejection", claim);
  return () => target.removeEventListener("unhandledrejection", claim);
}

function isEventTarget(value: unknown): value is EventTarget {
  return hasMethods(value, ["addEventListener", "removeEventListener", "dispatchEvent"]);
}

function isObject(value: unknown): value is WeakKey {
  return typeof value === "object" && value !== null;
}
