/**
 * One thread and one virtual clock. Everything that may happen next is an item. When no microtask is left, the seed
 * selects an item. The clock advances only if no item is ready.
 */

import { setImmediate } from "node:timers";
import type { Actor, Scheduler, SchedulerItem } from "./item.ts";
import { Names } from "./names.ts";
import { hash, type Prng } from "./prng.ts";
import { Process } from "./process.ts";
import { Timeline } from "./timeline.ts";

/** How many lines of the trace are printed for a failure. */
const keptLines = 100;

/** Epoch milliseconds at which every world begins. */
const beginning = 1_700_000_000_000;

export class World implements Scheduler {
  readonly prng: Prng;
  /**
   * Whether non-durable work may end at once, as with a cache, so that a call is sometimes prompt and sometimes late.
   */
  readonly hasCaches: boolean;
  /** The world's time in epoch milliseconds. The clocks of processes may differ. */
  now: number = beginning;
  readonly violations: string[] = [];
  readonly names: Names = new Names();
  steps = 0;
  #ready: SchedulerItem[] = [];
  readonly #timers = new Timeline<SchedulerItem>();
  readonly #picks: Prng;
  #digest = 0;
  readonly #lines: string[] = [];
  #names = 0;
  readonly #processes: Process[] = [];

  constructor(prng: Prng) {
    this.prng = prng;
    this.#picks = prng.fork("picks");
    this.hasCaches = prng.fork("caches").chance(0.3);
  }

  get elapsed(): number {
    return this.now - beginning;
  }

  /** Creates a process. */
  spawn(name: string): Process {
    this.#names += 1;
    const process = new Process(this, name, this.prng.fork(`process ${name} ${this.#names}`));
    this.#processes.push(process);
    return process;
  }

  push(item: SchedulerItem): void {
    this.#ready.push(item);
  }

  after(delayMs: number, item: SchedulerItem): () => void {
    const timer: SchedulerItem = { ...item };
    const remove = this.#timers.add(this.now + Math.max(0, Math.ceil(delayMs)), timer);
    return () => {
      remove();
      timer.isCancelled = true;
    };
  }

  turn(process: Actor | null, label: string, delayMs = 0): Promise<void> {
    return new Promise((resolve) => {
      const item = { process, label, run: resolve };
      if (delayMs > 0) this.after(delayMs, item);
      else this.push(item);
    });
  }

  /** Executes items until `isDone` or until the clock passes `until`. Returns false if no item is left. */
  async run(until: number, isDone: () => boolean): Promise<boolean> {
    for (;;) {
      await drained();
      if (isDone()) return true;
      if (this.#ready.length === 0 && !this.#advance(until)) return this.now >= until;
      const item = this.#take();
      if (item !== null) this.#happen(item);
    }
  }

  trace(line: string): void {
    this.#digest = hash(line, this.#digest);
    const { now } = this;
    this.#lines.push(`${String(now - beginning).padStart(8)} ${line}`);
    if (this.#lines.length > keptLines * 2) this.#lines.splice(0, keptLines);
  }

  /** Drops all items and kills all processes. */
  end(): void {
    this.#ready = [];
    for (const process of this.#processes) process.kill();
  }

  /** Records a violation of a rule. The first one is usually the most useful. */
  violate(rule: string, what: string): void {
    const text = `${rule}: ${what}`;
    this.trace(`VIOLATION ${text}`);
    this.violations.push(text);
  }

  /** A hash of the trace. If it differs for the same seed, the simulation is not deterministic. */
  get digest(): string {
    return `${this.steps}.${(this.#digest >>> 0).toString(16)}`;
  }

  get lastLines(): string[] {
    return this.#lines.slice(-keptLines);
  }

  #advance(until: number): boolean {
    const next = this.#timers.first();
    if (next === null || next > until) {
      this.now = Math.max(this.now, next === null ? this.now : until);
      return false;
    }
    this.now = Math.max(this.now, next);
    for (const item of this.#timers.until(this.now)) this.#ready.push(item);
    return true;
  }

  #take(): SchedulerItem | null {
    const items = this.#ready;
    const index = this.#picks.below(items.length);
    const item = items[index];
    const last = items.pop();
    if (item === undefined || last === undefined) return null;
    if (index < items.length) items[index] = last;
    return item;
  }

  #happen(item: SchedulerItem): void {
    const { process } = item;
    if (item.isCancelled === true || (process !== null && !process.isAlive)) return;
    if (process?.isPaused === true) {
      process.postpone(item);
      return;
    }
    this.steps += 1;
    this.#digest = hash(item.label, this.#digest);
    item.run();
  }
}

/** Resolves when no microtask is left. */
function drained(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
