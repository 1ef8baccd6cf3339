/**
 * The checker's own rule for calls that cannot be distinguished: they are alike and made from one point of the handler,
 * and two of them follow non-durable work. Each durable call is a point, from which the code makes its next calls.
 */

import { AsyncLocalStorage } from "node:async_hooks";

interface CallPoint {
  owner: Points;
  /** The path of the call or branch. Empty at the start of the handler. */
  path: string;
  together: object | null;
}

/** How an execution made a call. */
interface MadeCall {
  content: string;
  /** The content without the key. */
  bare: string;
  /** The path of the call whose result the handler received last. Empty if there is none. */
  after: string;
  /** The path of the point from which it was made. */
  from: string;
  /** Whether it followed non-durable work, not a delivery. */
  isLate: boolean;
}

const current = new AsyncLocalStorage<CallPoint>();

/** The points and calls of one execution of a handler. */
export class Points {
  /** Contents of calls that cannot be distinguished. */
  readonly clashes: Set<string> = new Set();
  /** Calls by path. */
  readonly made: Map<string, MadeCall> = new Map();
  readonly #alike = new Map<string, boolean>();
  #together: object | null = null;

  run<Result>(handler: () => Result): Result {
    return this.branch("", handler);
  }

  /** Records that a durable call is made here. */
  call(path: string, made: Pick<MadeCall, "content" | "bare" | "after">, isLate: boolean): void {
    const { content } = made;
    const store = current.getStore();
    const at = store?.owner === this ? store : null;
    const together = this.#currentTogether();
    // A call that is made together with the previous one has the same point.
    const from = at === null ? "" : at.together === together ? `${at.path}|` : at.path;
    const key = `${from} ${content}`;
    const before = this.#alike.get(key);
    // Derived values depend on the order of calls, so they cannot be distinguished if non-durable work decides the
    // order.
    const isDerived = /^(uuid|random|map):/.test(content);
    if (before !== undefined && (isDerived ? before || isLate : before && isLate)) this.clashes.add(content);
    this.#alike.set(key, before === true || isLate);
    this.made.set(path, { ...made, from, isLate });
    current.enterWith({ owner: this, path, together });
  }

  /** Executes a branch, which has its own point. */
  branch<Result>(path: string, run: () => Result): Result {
    return current.run({ owner: this, path, together: null }, run);
  }

  /** An object that is the same for calls without an await between them. */
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
 * Whether the code may make the call `path` in one execution in the place of the call `other` in another execution:
 * they are alike, are made from one point, and the code does not determine their order.
 */
export function mayBeMistaken(one: Points, path: string, another: Points, other: string): boolean {
  const own = one.made.get(path);
  const rival = another.made.get(other);
  if (own === undefined || rival === undefined || !isAlike(own, rival)) return false;
  if (own.isLate || rival.isLate) return true;
  if (!isOrdered(one, path, other) && !isOrdered(another, path, other)) return true;
  // Non-durable work delays the call that was first in the other execution.
  return !one.made.has(other) && isOrdered(another, path, other) && isBefore(another, other, path);
}

/** Calls that follow deliveries have the same order in each execution. */
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
