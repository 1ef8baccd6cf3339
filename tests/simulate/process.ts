/** A simulated process, which can be killed, or paused and resumed. */

import type { Cancel, Env } from "@aikirun/lib";
import type { Actor, Scheduler, SchedulerItem } from "./item.ts";
import type { Prng } from "./prng.ts";

export class Process implements Actor {
  readonly name: string;
  readonly world: Scheduler;
  readonly env: Env;
  /** The offset of its clock. Milliseconds. */
  skew = 0;
  isAlive = true;
  isPaused = false;
  /** Random numbers for the non-durable work of its handlers. */
  readonly chance: Prng;
  /** Whether the current code follows non-durable work of a handler. */
  isInPlain = false;
  readonly #bornAt: number;
  readonly #prng: Prng;
  #backlog: SchedulerItem[] = [];
  /** Callbacks of `soon`, in order. The world has one item for each. */
  readonly #soon: Array<() => void> = [];
  #onResume: Array<() => void> = [];
  #ids = 0;

  constructor(world: Scheduler, name: string, prng: Prng) {
    this.world = world;
    this.name = name;
    this.#prng = prng;
    this.chance = prng.fork("chance");
    this.#bornAt = world.now;
    this.env = {
      now: () => world.now + this.skew,
      elapsed: () => world.now - this.#bornAt,
      random: () => this.#random(),
      id: () => this.#id(),
      after: (delayMs, then) => this.#after(delayMs, then),
      soon: (then) => this.#later(then),
      drained: (then) => this.#drained(then),
    };
  }

  /** Drops all its callbacks. */
  kill(): void {
    this.isAlive = false;
    this.#backlog = [];
    this.#soon.length = 0;
    this.world.trace(`${this.name} dies`);
  }

  pause(): void {
    this.isPaused = true;
    this.world.trace(`${this.name} stops`);
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.world.trace(`${this.name} continues`);
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const item of backlog) this.world.push(item);
    const waiting = this.#onResume;
    this.#onResume = [];
    for (const go of waiting) go();
  }

  postpone(item: SchedulerItem): void {
    this.#backlog.push(item);
  }

  /** Passes a result to this process: after a pause, and never if it is dead. */
  async reach<Result>(result: Promise<Result>): Promise<Result> {
    try {
      const value = await result;
      await this.#present();
      return value;
    } catch (thrown) {
      await this.#present();
      throw thrown;
    }
  }

  async #present(): Promise<void> {
    while (this.isPaused && this.isAlive) {
      await new Promise<void>((resolve) => this.#onResume.push(resolve));
    }
    if (!this.isAlive) await never();
  }

  /** Has 53 bits, so that equal values are practically impossible. */
  #random(): number {
    const high = Math.floor(this.#prng.next() * 2 ** 27);
    return (high * 2 ** 26 + Math.floor(this.#prng.next() * 2 ** 26)) / 2 ** 53;
  }

  #after(delayMs: number, then: () => void): Cancel {
    if (!this.isAlive) return () => {};
    return this.world.after(delayMs, { process: this, label: `${this.name} timer`, run: then });
  }

  #later(then: () => void): void {
    if (!this.isAlive) return;
    this.#soon.push(then);
    this.world.push({ process: this, label: `${this.name} soon`, run: () => this.#soon.shift()?.() });
  }

  /** Microtasks are real here, so this uses the real queue. */
  #drained(then: () => void): void {
    queueMicrotask(() => {
      process.nextTick(() => {
        if (!this.isAlive) return;
        if (this.isPaused) this.postpone({ process: this, label: `${this.name} drained`, run: then });
        else then();
      });
    });
  }

  /** A UUIDv7 with the world's time. */
  #id(): string {
    const { now } = this.world;
    this.#ids += 1;
    const time = Math.floor(now).toString(16).padStart(12, "0");
    const digits = Array.from({ length: 19 }, () => this.#prng.below(16).toString(16)).join("");
    return `${time.slice(0, 8)}-${time.slice(8)}-7${digits.slice(0, 3)}-8${digits.slice(3, 6)}-${digits.slice(6, 18)}`;
  }
}

/** A promise that never settles, for dead processes. */
export function never(): Promise<never> {
  return new Promise<never>(() => {});
}
