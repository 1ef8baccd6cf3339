/** The only timer of runs: it fires at the earliest known `dueAt`, and once a second for runs of other servers. */

import { type Cancel, type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { Reader, Storage } from "../storage/storage.ts";
import type { Operation, Result } from "./operation.ts";

export interface Clock {
  start(): Promise<void>;
  /** A run is due at this time. Epoch milliseconds. */
  expect(dueAt: number): void;
  stop(): void;
}

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

export function dueClock({ env, storage, submit, logger, closing }: ClockOptions): Clock {
  let cancel: Cancel = () => {};
  let armedFor = Number.POSITIVE_INFINITY;
  let running = false;
  /** How far the database's clock was ahead of this server's clock when it was last read. Milliseconds. */
  let ahead = 0;

  const arm = (at: number) => {
    cancel();
    armedFor = at;
    cancel = env.after(Math.max(0, at - env.now()), fire);
  };

  /** Ticks due runs until none is left. False if other servers are ticking all of them. */
  const tickAll = async (): Promise<boolean> => {
    let due = await tickSome();
    const isAny = due > 0;
    while (due === dueAtOnce && !closing.aborted) {
      due = await tickSome();
    }
    return isAny;
  };

  /** If the sweep fails, because of one run or because others have locked a row, ticks each run separately. */
  const tickSome = async (): Promise<number> => {
    const result = await submit({ type: "sweep", limit: dueAtOnce }).catch(() => null);
    return result?.type === "sweep" && result.due !== null ? result.due : tickEach();
  };

  const tickEach = async (): Promise<number> => {
    const ids = await storage.transaction((transaction) => transaction.due(transaction.now(), dueAtOnce));
    const ticks = ids.map((to) => submit({ type: "command", namespace: null, to, command: { type: "tick" } }));
    for (const tick of await Promise.allSettled(ticks)) {
      if (tick.status === "rejected") {
        throw tick.reason;
      }
    }
    return ids.length;
  };

  const fire = async () => {
    running = true;
    armedFor = Number.POSITIVE_INFINITY;
    let failed = false;
    let patienceMs = 1;
    try {
      if ((await isAnyDue()) && !(await tickAll())) {
        patienceMs = lockedRetryMs;
      }
    } catch (error) {
      failed = true;
      // Storage faults are already in the log.
      if (!closing.aborted && !isAikiError(error)) {
        logger.error("The clock failed and tries again in a second", { error });
      }
    }
    running = false;
    if (!closing.aborted) {
      await rearm(failed, patienceMs);
    }
  };

  const isAnyDue = async (): Promise<boolean> => {
    const due = await storage.read(nextDue);
    return due !== null && due <= env.now();
  };

  const rearm = async (failed: boolean, patienceMs: number) => {
    const soonest = env.now() + sweepMs;
    const due = failed ? null : await storage.read(nextDue).catch(() => null);
    if (!closing.aborted) {
      const now = env.now();
      // A run that is still due was just tried, so there is a pause before the next try.
      const next = due !== null && due <= now ? now + patienceMs : (due ?? soonest);
      arm(Math.min(soonest, armedFor, next));
    }
  };

  /** By this server's clock, so that it does not query a database whose clock is behind before the run is due there. */
  const nextDue = async (reader: Reader): Promise<number | null> => {
    const due = await reader.nextDue();
    ahead = reader.now() - env.now();
    return due === null ? null : due - ahead;
  };

  return {
    start: () => rearm(false, 1),
    expect(dueAt) {
      const at = dueAt - ahead;
      if (at < armedFor && !closing.aborted) {
        if (running) {
          armedFor = at;
        } else {
          arm(at);
        }
      }
    },
    stop() {
      cancel();
    },
  };
}
