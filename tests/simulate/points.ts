/**
 * The checker's own idea of which calls nothing tells apart: alike calls, made from one point of the handler, of which
 * two follow plain work. Each durable call is a point, from which come the calls that the code makes after it.
 */

import { AsyncLocalStorage } from "node:async_hooks";

interface CallPoint {
  owner: Points;
  /** The path of the call, or of the branch; empty for the beginning of the handler. */
  path: string;
  together: object | null;
}

/** How an execution made a call. */
interface MadeCall {
  content: string;
  /** What its content would be if it had no key. */
  bare: string;
  /** The path of the call whose result the handler had received last; empty when it had received none. */
  after: string;
  /** The path of the point from which it was made. */
  from: string;
  /** It followed plain work, and not a delivery. */
  isLate: boolean;
}

const current = new AsyncLocalStorage<CallPoint>();

/** Of one execution of a handler. */
export class Points {
  /** Contents of calls that nothing tells apart. */
  readonly clashes: Set<string> = new Set();
  /** By path. */
  readonly made: Map<string, MadeCall> = new Map();
  readonly #alike = new Map<string, boolean>();
  #together: object | null = null;

  run<Result>(handler: () => Result): Result {
    return this.branch("", handler);
  }

  /** A durable call is made here. */
  call(path: string, made: Pick<MadeCall, "content" | "bare" | "after">, isLate: boolean): void {
    const { content } = made;
    const store = current.getStore();
    const at = store?.owner === this ? store : null;
    const together = this.#currentTogether();
    // A call that is made together with the one before stands beside it.
    const from = at === null ? "" : at.together === together ? `${at.path}|` : at.path;
    const key = `${from} ${content}`;
    const before = this.#alike.get(key);
    // What is derived from its place among others is not told from them where plain work decides the order.
    const isDerived = /^(uuid|random|map):/.test(content);
    if (before !== undefined && (isDerived ? before || isLate : before && isLate)) this.clashes.add(content);
    this.#alike.set(key, before === true || isLate);
    this.made.set(path, { ...made, from, isLate });
    current.enterWith({ owner: this, path, together });
  }

  /** A branch with a point of its own. */
  branch<Result>(path: string, run: () => Result): Result {
    return current.run({ owner: this, path, together: null }, run);
  }

  /** Calls made without awaiting anything between them are made together. */
  #currentTogether(): object {
    if (this.#together === null) {
      this.#together = {};
      queueMicrotask(() => {
        this.#together = null;
      });
    }
    return this.#together;
  }
}

/**
 * Whether the code may have come to the call `path`, in one execution, in the place of the call `other` in another one:
 * they are alike and come from one point, and nothing says in which order the code comes to the two.
 */
export function mayBeMistaken(one: Points, path: string, another: Points, other: string): boolean {
  const own = one.made.get(path);
  const rival = another.made.get(other);
  if (own === undefined || rival === undefined || !isAlike(own, rival)) return false;
  if (own.isLate || rival.isLate) return true;
  if (!isOrdered(one, path, other) && !isOrdered(another, path, other)) return true;
  // Plain work keeps the code from the call that came first before.
  return !one.made.has(other) && isOrdered(another, path, other) && isBefore(another, other, path);
}

/** Calls that follow deliveries come in the same order each time. */
function isOrdered({ made }: Points, path: string, other: string): boolean {
  const [one, another] = [made.get(path), made.get(other)];
  return one !== undefined && another !== undefined && isAlike(one, another) && !one.isLate && !another.isLate;
}

function isBefore({ made }: Points, first: string, second: string): boolean {
  const paths = [...made.keys()];
  return paths.indexOf(first) < paths.indexOf(second);
}

function isAlike(one: MadeCall, another: MadeCall): boolean {
  return one.bare === another.bare && one.from === another.from;
}
