/** The only timer of runs: it fires at the earliest known `dueAt`, and once a second for runs of other servers. */

import { type Cancel, type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { Reader, Storage } from "../storage/storage.ts";
import type { Operation, Result } from "./operation.ts";

const sweepMs = 1_000;
/** If other servers are ticking all due runs, the clock looks for due runs again after this time. Milliseconds. */
const lockedRetryMs = 50;
/** How many due runs are ticked in one transaction; further ones follow in the next. */
const dueAtOnce = 200;

export interface ClockOptions {
  env: Env;
  storage: Pick<Storage, "read" | "transaction">;
  submit: (operation: Operation) => Promise<Exclude<Result, { type: "fault" }>>;
  logger: Logger;
  closing: AbortSignal;
}

export class Clock {
  readonly #options: ClockOptions;
  #cancel: Cancel = () => {};
  /** When the timer fires; epoch milliseconds by this server's clock. */
  #armedFor = Number.POSITIVE_INFINITY;
  #isTicking = false;
  /** How far the database's clock was ahead of this server's clock when it was last read. Milliseconds. */
  #aheadMs = 0;

  constructor(options: ClockOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    return this.#rearm(false, 1);
  }

  stop(): void {
    this.#cancel();
  }

  /** A run is due at this time. Epoch milliseconds. */
  expect(dueAt: number): void {
    const at = dueAt - this.#aheadMs;
    if (at >= this.#armedFor || this.#options.closing.aborted) return;
    if (this.#isTicking) this.#armedFor = at;
    else this.#arm(at);
  }

  #arm(at: number): void {
    const { env } = this.#options;
    this.#cancel();
    this.#armedFor = at;
    this.#cancel = env.after(Math.max(0, at - env.now()), () => void this.#fire());
  }

  async #fire(): Promise<void> {
    const { closing, logger } = this.#options;
    this.#isTicking = true;
    this.#armedFor = Number.POSITIVE_INFINITY;
    let hasFailed = false;
    let pauseMs = 1;
    try {
      if ((await this.#isAnyDue()) && !(await this.#tickAll())) pauseMs = lockedRetryMs;
    } catch (error) {
      hasFailed = true;
      // Storage faults are already in the log.
      if (!closing.aborted && !isAikiError(error)) {
        logger.error("The clock failed and tries again in a second", { error });
      }
    }
    this.#isTicking = false;
    if (!closing.aborted) await this.#rearm(hasFailed, pauseMs);
  }

  async #isAnyDue(): Promise<boolean> {
    const dueAt = await this.#nextDueAt();
    return dueAt !== null && dueAt <= this.#options.env.now();
  }

  async #rearm(hasFailed: boolean, pauseMs: number): Promise<void> {
    const { env, closing } = this.#options;
    const soonest = env.now() + sweepMs;
    const dueAt = hasFailed ? null : await this.#nextDueAt().catch(() => null);
    if (closing.aborted) return;
    const now = env.now();
    // A run that is still due was just tried, so there is a pause before the next try.
    const next = dueAt !== null && dueAt <= now ? now + pauseMs : (dueAt ?? soonest);
    this.#arm(Math.min(soonest, this.#armedFor, next));
  }

  /** By this server's clock, so that it does not query a database whose clock is behind before the run is due there. */
  #nextDueAt(): Promise<number | null> {
    const { env, storage } = this.#options;
    return storage.read(async (reader: Reader) => {
      const dueAt = await reader.nextDue();
      this.#aheadMs = reader.now() - env.now();
      return dueAt === null ? null : dueAt - this.#aheadMs;
    });
  }

  /** Ticks due runs until none is left. False if other servers are ticking all of them. */
  async #tickAll(): Promise<boolean> {
    let due = await this.#tickSome();
    const isAny = due > 0;
    while (due === dueAtOnce && !this.#options.closing.aborted) due = await this.#tickSome();
    return isAny;
  }

  /** If the sweep fails, because of one run or because others have locked a row, ticks each run separately. */
  async #tickSome(): Promise<number> {
    const result = await this.#options.submit({ type: "sweep", limit: dueAtOnce }).catch(() => null);
    return result?.type === "sweep" && result.due !== null ? result.due : this.#tickEach();
  }

  async #tickEach(): Promise<number> {
    const { storage, submit } = this.#options;
    const ids = await storage.transaction((transaction) => transaction.due(transaction.now(), dueAtOnce));
    const ticks = ids.map((to) => submit({ type: "command", namespace: null, to, command: { type: "tick" } }));
    for (const tick of await Promise.allSettled(ticks)) {
      if (tick.status === "rejected") throw tick.reason;
    }
    return ids.length;
  }
}
