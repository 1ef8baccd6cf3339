import type { Address, CallSite, Value } from "@aikirun/lib/protocol";
import type { Group } from "./drain.ts";
import type { Point } from "./points.ts";

/** A value that the handler was given before it was recorded. */
export interface Unnumbered {
  /** Once it is recorded. */
  seq: number | null;
}

/** What a durable call is, and which of the alike calls it is. */
export interface Identified {
  /** Kind, name, and the key or the hash of the input: what alike calls share. */
  readonly content: string;
  readonly identity: string;
  /** The branch from which it is made; `besideOf` it when it is made together with the call before it there. */
  readonly branch: string;
  /** The alike calls of the same drain; null when it is made after plain asynchronous work. */
  readonly group: Group | null;
  /** What the call would be without its key; null when it has none. */
  readonly unkeyed: Unkeyed | null;
  /** The last delivery before the call: its `seq`, or the value that has none yet. */
  readonly after: number | Unnumbered;
  /** The calls that the deliveries before the last one answered, by their lineage. */
  readonly past: readonly string[];
  /** The call that the last delivery answered, by its lineage. */
  readonly delivered: string;
  /** Where the code goes on from. */
  readonly point: Point;
  /** In a later attempt: code came to the call another way than before, or may have. */
  readonly isChanged: boolean;
  /** The call of the point it is made from has no value yet: it is made beside that call, not after it. */
  readonly isBeside: boolean;
  /** It is made from where a branch of `run.map` begins: no other code comes from there. */
  readonly isOfItem: boolean;
  /** How many alike calls the branch had made before. */
  readonly earlier: number;
}

/** A call with a key, as it would be without it. */
export interface Unkeyed extends Pick<Identified, "content" | "identity" | "group"> {
  /** What the branch is called that goes on from it. */
  readonly path: string;
}

/** A durable call, as the scheduler sees it. */
export interface OpenCall {
  readonly made: Identified;
  /** Where it is recorded; null before it is found in the record or begun. */
  address: Address | null;
  /** The identity under which it is recorded, in this attempt. */
  identity: string;
  /** As this attempt has recorded it before; null when it has not. */
  recorded: CallSite | null;
  /** What the branch that goes on from it is called, in every attempt. */
  lineage: string;
  /** False once a value was delivered, or the call was withdrawn. */
  readonly open: boolean;
  readonly isWithdrawn: boolean;
  /** Where it waits for an entry. */
  readonly listens: Address[];
  /** Where waits of it may be open at the server. */
  readonly waits: Address[];
  /** No value is delivered before the entry of this `seq`; 0 when the value's own entry decides. */
  askSeq: number;
  /** Of its value, where this attempt has recorded it before; null otherwise. */
  seq: number | null;
  /** Settles the handler's promise; the handler goes on in the microtasks that follow. */
  deliver(value: Value): void;
  /** Rejects the handler's promise without a value. */
  withdraw(reason: unknown): void;
}

/** One durable call: a promise of the handler's, and how a recorded value settles it. */
export class Call<Result> implements OpenCall {
  readonly made: Identified;
  address: Address | null = null;
  identity: string;
  recorded: CallSite | null = null;
  lineage: string;
  readonly promise: Promise<Result>;
  open = true;
  isWithdrawn = false;
  readonly listens: Address[] = [];
  readonly waits: Address[] = [];
  askSeq = 0;
  seq: number | null = null;
  readonly #read: (value: Value, call: OpenCall) => Result | PromiseLike<Result>;
  readonly #resolve: (result: Result | PromiseLike<Result>) => void;
  readonly #reject: (reason: unknown) => void;

  constructor(made: Identified, read: (value: Value, call: OpenCall) => Result | PromiseLike<Result>) {
    const { promise, resolve, reject } = unsettled<Result>();
    this.made = made;
    made.point.call = this;
    this.identity = made.identity;
    this.lineage = made.identity;
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

  /** Promises that are made from here on keep the point of the call in memory, but not the call. */
  #close(): void {
    this.open = false;
    this.made.point.call = null;
  }
}

/** Makes what it is given an instance of the classes that extend it. */
class Given {
  constructor(given: object) {
    // biome-ignore lint/correctness/noConstructorReturn: what extends this adds its fields to what is given.
    return given;
  }
}

/** Adds a private field to a promise. Users cannot see the field, and a WeakMap costs a hundred times as much. */
class CallOfPromise extends Given {
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

/** The call that this promise is of; undefined for any other value. */
export function callOf(promise: unknown): OpenCall | undefined {
  return typeof promise === "object" && promise !== null ? CallOfPromise.find(promise) : undefined;
}

/** What is recorded with everything that the call leaves in the journal. `seqOf` tells the `seq` of a value. */
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

/** A promise that never kills the process for not being awaited yet. */
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

/** A durable call that is wrong in itself: the same on every replay, so nothing of it is recorded. */
export function refused(thrown: unknown): Promise<never> {
  const promise = Promise.reject(thrown);
  promise.catch(ignore);
  return promise;
}

function ignore(): void {}
