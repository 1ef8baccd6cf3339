import process from "node:process";
import { setImmediate } from "node:timers";

/** The only source of time, timers, randomness and ids, so that all of Aiki can be simulated from a seed. */
export interface Env {
  /** Epoch milliseconds; may jump. */
  now(): number;
  /** Monotonic milliseconds, for intervals. */
  elapsed(): number;
  /** A random number in [0, 1). */
  random(): number;
  /** A new UUIDv7. */
  id(): string;
  /**
   * Calls `then` once after `delayMs` (any length, clamped and re-armed); returns what cancels it. Does not keep the
   * process alive.
   */
  after(delayMs: number, then: () => void): Cancel;
  /** Calls `then` in a later turn of the event loop, when no microtask is pending. */
  soon(then: () => void): void;
  /**
   * Calls `then` as soon as the microtask queue is empty, with everything that its microtasks add to it, and before any
   * I/O, timer or immediate.
   */
  drained(then: () => void): void;
}

/** Cancels a timer. Does nothing if the timer has fired. */
export type Cancel = () => void;

/** The longest delay that `setTimeout` takes; a longer one would fire at once. Milliseconds. */
const longestTimeoutMs = 2 ** 31 - 1;

/**
 * The real clock, timers and randomness. `id` makes UUIDv7s. Timers do not keep the process alive. Code that waits for
 * a timer must keep the process alive in another way, for example with an open socket.
 */
export function systemEnv(options: { id: () => string }): Env {
  return {
    now: () => Date.now(),
    elapsed: () => performance.now(),
    random: () => Math.random(),
    id: options.id,
    after,
    soon: (then) => {
      setImmediate(then);
    },
    drained,
  };
}

const resolved = Promise.resolve();

/** A `nextTick` callback that a microtask adds runs when the microtask queue is empty, on Node, Deno and Bun. */
function drained(then: () => void): void {
  // The same as queueMicrotask, but takes half the time when asynchronous hooks are in use.
  void resolved.then(() => process.nextTick(then));
}

function after(delayMs: number, then: () => void): Cancel {
  let remaining = Math.max(0, delayMs);
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    const step = Math.min(remaining, longestTimeoutMs);
    remaining -= step;
    timer = setTimeout(remaining > 0 ? arm : then, step);
    // In an environment that imitates a browser a timer is a number.
    timer.unref?.();
  };
  arm();
  return () => clearTimeout(timer);
}
