/** The one timer: fires at the earliest `dueAt` it knows, and once a second for what it does not know of. */

import { type Cancel, type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { Reader, Storage } from "../storage/storage.ts";
import type { Operation, Result } from "./operation.ts";

export interface Clock {
  start(): Promise<void>;
  /** Something is due at this moment. Epoch milliseconds. */
  expect(dueAt: number): void;
  stop(): void;
}

const sweepMs = 1_000;
/** What other servers are ticking is looked for again after this. Milliseconds. */
const othersMs = 50;
/** Due runs asked for at a time, so that a herd is worked off in batches. */
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
  /** How far the database's clock was ahead of ours when it was last read. Milliseconds. */
  let ahead = 0;

  const arm = (at: number) => {
    cancel();
    armedFor = at;
    cancel = env.after(Math.max(0, at - env.now()), fire);
  };

  /** What is due, as long as there is more. False when others are ticking all of it. */
  const tickAll = async (): Promise<boolean> => {
    let due = await tickSome();
    const isAny = due > 0;
    while (due === dueAtOnce && !closing.aborted) {
      due = await tickSome();
    }
    return isAny;
  };

  /** One that brings down its sweep, or needs a run that others hold, is left behind by ticking one by one. */
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
        patienceMs = othersMs;
      }
    } catch (error) {
      failed = true;
      // Faults of the storage are in the log already.
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
      // Something due already was tried just now; it gets a moment before the next try.
      const next = due !== null && due <= now ? now + patienceMs : (due ?? soonest);
      arm(Math.min(soonest, armedFor, next));
    }
  };

  /** By our clock: a database whose clock is behind is not asked again before it can answer. */
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
