import type { Address, CallSite, Value } from "@aikirun/lib/protocol";
import type { Group } from "./drain.ts";
import type { Point } from "./points.ts";

/** A value that was delivered to the handler before it was recorded. */
export interface Unnumbered {
  /** Null until the value is recorded. */
  seq: number | null;
}

/** Which call it is: its content, and what distinguishes it from other calls of the same content (alike calls). */
export interface Identified {
  /** Kind, name, and the key or the hash of the input: what alike calls share. */
  readonly content: string;
  readonly identity: string;
  /** The branch from which the call is made; `besideOf` the branch when it is made together with the call before it. */
  readonly branch: string;
  /** The alike calls of the same drain; null when the call is made after non-durable asynchronous work. */
  readonly group: Group | null;
  /** How the call would be identified without its key; null when it has no key. */
  readonly unkeyed: Unkeyed | null;
  /** The last delivery before the call: its `seq`, or the delivered value if it has no `seq` yet. */
  readonly after: number | Unnumbered;
  /** The first identities of the calls whose values were delivered before the last delivery. */
  readonly past: readonly string[];
  /** The first identity of the call whose value was delivered last. */
  readonly delivered: string;
  /** The point at which the code continues after the call. */
  readonly point: Point;
  /** Whether the code may have reached the call by another path than before: in a later attempt, or after a change. */
  readonly isChanged: boolean;
  /** Whether the previous call of the branch has no value yet. This call is then made beside it, not after it. */
  readonly isBeside: boolean;
  /** Whether it is the first call of a branch of `run.map`. */
  readonly isOfItem: boolean;
  /** How many alike calls the branch had made before. */
  readonly earlier: number;
}

/** The identity that a call with a key would have without the key. */
export interface Unkeyed extends Pick<Identified, "content" | "identity" | "group" | "earlier"> {
  /** The name of the branch that continues after the call. */
  readonly branchAfter: string;
}

/** A durable call, as the scheduler sees it. */
export interface OpenCall {
  readonly made: Identified;
  /** The address of the call in the journal; null until it is found there or begun. */
  address: Address | null;
  /** The identity under which this attempt records the call. */
  identity: string;
  /** The call site that this attempt has recorded before; null when it has recorded none. */
  recorded: CallSite | null;
  /** The identity under which an attempt first recorded the call. It names the call's delivery in every attempt. */
  firstIdentity: string;
  /** False once a value was delivered, or the call was withdrawn. */
  readonly open: boolean;
  readonly isWithdrawn: boolean;
  /** The addresses at which the call waits for an entry. */
  readonly listens: Address[];
  /** The addresses of the call's waits that may be open at the server. */
  readonly waits: Address[];
  /** The value is delivered no earlier than the entry of this `seq`; 0 when there is no such limit. */
  askedSeq: number;
  /** The `seq` of the value if this attempt has recorded it before; null otherwise. */
  seq: number | null;
  /** Settles the handler's promise. The handler continues in the microtasks that follow. */
  deliver(value: Value): void;
  /** Rejects the handler's promise without a value. */
  withdraw(reason: unknown): void;
}

/** One durable call: the promise that the handler awaits, and how a recorded value settles it. */
export class Call<Result> implements OpenCall {
  readonly made: Identified;
  address: Address | null = null;
  identity: string;
  recorded: CallSite | null = null;
  firstIdentity: string;
  readonly promise: Promise<Result>;
  open = true;
  isWithdrawn = false;
  readonly listens: Address[] = [];
  readonly waits: Address[] = [];
  askedSeq = 0;
  seq: number | null = null;
  readonly #read: (value: Value, call: OpenCall) => Result | PromiseLike<Result>;
  readonly #resolve: (result: Result | PromiseLike<Result>) => void;
  readonly #reject: (reason: unknown) => void;

  constructor(made: Identified, read: (value: Value, call: OpenCall) => Result | PromiseLike<Result>) {
    const { promise, resolve, reject } = unsettled<Result>();
    this.made = made;
    made.point.call = this;
    this.identity = made.identity;
    this.firstIdentity = made.identity;
    this.promise = promise;
    CallOfPromise.keep(promise, this);
    this.#read = read;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  deliver(value: Value): void {
    this.#close();
    try {
      this.#resolve(this.#read(value, this));
    } catch (thrown) {
      this.#reject(thrown);
    }
  }

  withdraw(reason: unknown): void {
    this.#close();
    this.isWithdrawn = true;
    this.#reject(reason);
  }

  /** Removes the call from its point. Later promises keep the point in memory, and no longer the call. */
  #close(): void {
    this.open = false;
    this.made.point.call = null;
  }
}

/** The base class of classes that add private fields to an existing object. */
class ExistingObject {
  constructor(existing: object) {
    // biome-ignore lint/correctness/noConstructorReturn: subclasses add their fields to the returned object.
    return existing;
  }
}

/** Adds a private field to a promise. Users cannot see the field, and a WeakMap costs a hundred times as much. */
class CallOfPromise extends ExistingObject {
  readonly #call: OpenCall;

  constructor(promise: object, call: OpenCall) {
    super(promise);
    this.#call = call;
  }

  static keep(promise: object, call: OpenCall): void {
    new CallOfPromise(promise, call);
  }

  static find(promise: object): OpenCall | undefined {
    return #call in promise ? promise.#call : undefined;
  }
}

/** The durable call to which this promise belongs; undefined for any other value. */
export function callOf(promise: unknown): OpenCall | undefined {
  return typeof promise === "object" && promise !== null ? CallOfPromise.find(promise) : undefined;
}

/** The call site to record with every entry of the call. `seqOf` returns the `seq` of a value. */
export function callSiteOf({ made, identity, recorded }: OpenCall, seqOf: (value: Unnumbered) => number): CallSite {
  if (recorded !== null) return recorded;
  const { after, branch, group, earlier } = made;
  const madeAfter = typeof after === "number" ? after : seqOf(after);
  if (group === null) return earlier === 0 ? { madeAfter, identity } : { madeAfter, identity, alike: earlier + 1 };
  return group.count === 1 ? { madeAfter, identity, branch } : { madeAfter, identity, branch, alike: group.count };
}

interface Unsettled<Result> {
  promise: Promise<Result>;
  resolve: (result: Result | PromiseLike<Result>) => void;
  reject: (reason: unknown) => void;
}

/** A pending promise whose rejection does not end the process if the handler does not await it yet. */
function unsettled<Result>(): Unsettled<Result> {
  let resolve: Unsettled<Result>["resolve"] = ignore;
  let reject: Unsettled<Result>["reject"] = ignore;
  const promise = new Promise<Result>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(ignore);
  return { promise, resolve, reject };
}

/** The result of an invalid call. The same error occurs on every replay, so nothing is recorded. */
export function refused(thrown: unknown): Promise<never> {
  const promise = Promise.reject(thrown);
  promise.catch(ignore);
  return promise;
}

function ignore(): void {}
