/**
 * A run's code may leave a promise without a handler. When such a promise rejects, its run fails, and the process
 * continues.
 *
 * Node emits "unhandledRejection" in an async context of the promise: Node 20 and 22 in the one in which it was made,
 * Node 24 and Deno in the one in which it was rejected. So an AsyncLocalStorage names the run.
 *
 * A listener cannot do this: while there is one, Node takes every rejection for handled, and the listeners of the
 * application are called for a run's rejection too. So the `emit` of `process` is wrapped. For a rejection that belongs
 * to no run, Node gets the answer of the original `emit`, and does what it does without a worker.
 *
 * Not covered: `--unhandled-rejections=strict` ends the process before anything is emitted, and `=warn` prints its
 * warning for a run's rejection too. Bun emits outside of any context, so that no rejection can be given to a run.
 */

import process from "node:process";
import { hasMethods } from "@aikirun/lib/internal";

/** The run to which the code in the current async context belongs. */
export interface RejectionTarget {
  /** Fails the run with this reason. */
  reject(reason: unknown): void;
}

/** Starts to watch for rejections; the returned function ends it. All watches share one wrapper. */
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
    // Another wrapper was installed around this one and calls it, so this one stays and passes every event on.
    if (!Object.is(process.emit, wrapped)) return;
    if (before === undefined) Reflect.deleteProperty(process, "emit");
    else Object.defineProperty(process, "emit", before);
  };
}

/** Deno first dispatches an event, and does nothing else if the event is prevented and stopped. */
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
