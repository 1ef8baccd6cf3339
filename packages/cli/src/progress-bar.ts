import type { Terminal } from "./terminal.ts";
import { amountOf, spanOf } from "./text.ts";

/** The minimum time between two lines of progress. Milliseconds. */
const intervalMs = 100;
const barWidth = 24;

/** Shows how much of a long work is done: a bar if the total is known, else a count. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #what: string;
  readonly #total: number | null;
  readonly #startedAt = performance.now();
  #shownAt = Number.NEGATIVE_INFINITY;

  /** `what`: the verb and the object, such as `Exporting runs`. `total`: null if it is unknown. */
  constructor(terminal: Terminal, what: string, total: number | null) {
    this.#terminal = terminal;
    this.#what = what;
    this.#total = total;
  }

  /** Shows that `done` items are done. */
  show(done: number): void {
    const now = performance.now();
    if (!this.#terminal.showsProgress || now - this.#shownAt < intervalMs) return;
    this.#shownAt = now;
    this.#terminal.progress(this.#line(done, now));
  }

  end(): void {
    this.#terminal.progress(null);
  }

  #line(done: number, now: number): string {
    if (this.#total === null) return `${this.#what}  ${amountOf(done)}`;
    const share = this.#total === 0 ? 1 : Math.min(1, done / this.#total);
    const filled = Math.round(share * barWidth);
    const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
    const leftMs = share === 0 ? null : ((now - this.#startedAt) * (1 - share)) / share;
    const left = leftMs === null || leftMs < 1_000 ? "" : `  ${spanOf(leftMs)} left`;
    return `${this.#what}  ${bar} ${Math.floor(100 * share)}%  ${amountOf(done)} of ${amountOf(this.#total)}${left}`;
  }
}
