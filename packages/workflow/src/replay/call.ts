import type { Address, Value } from "@aikirun/lib/protocol";

/** A durable call, as what moves the execution sees it. */
export interface OpenCall {
  readonly address: Address;
  /** False once a value was delivered. */
  readonly open: boolean;
  /** Where it listens for what will be recorded. */
  readonly listens: Address[];
  /** Settles the handler's promise; the handler goes on in the microtasks that follow. */
  deliver(value: Value): void;
}

/** One durable call: a promise of the handler's, and how a recorded value settles it. */
export class Call<Result> implements OpenCall {
  readonly address: Address;
  readonly promise: Promise<Result>;
  open = true;
  readonly listens: Address[] = [];
  readonly #read: (value: Value) => Result | PromiseLike<Result>;
  readonly #resolve: (result: Result | PromiseLike<Result>) => void;
  readonly #reject: (reason: unknown) => void;

  constructor(address: Address, read: (value: Value) => Result | PromiseLike<Result>) {
    const { promise, resolve, reject } = unsettled<Result>();
    this.address = address;
    this.promise = promise;
    this.#read = read;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  deliver(value: Value): void {
    this.open = false;
    try {
      this.#resolve(this.#read(value));
    } catch (thrown) {
      this.#reject(thrown);
    }
  }
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
