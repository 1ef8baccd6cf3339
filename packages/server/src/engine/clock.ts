/** The one timer: fires at the earliest `dueAt` it knows, and once a second for what it does not know of. */

import type { Cancel, Env, Logger } from "@aikirun/lib";
import type { Reader, Storage } from "../storage/storage.ts";
import type { Operation } from "./operation.ts";

export interface Clock {
  start(): Promise<void>;
  /** Something is due at this moment. Epoch milliseconds. */
  expect(dueAt: number): void;
  stop(): void;
}

const sweepMs = 1_000;
/** Due runs asked for at a time, so that a herd is worked off in batches. */
const dueAtOnce = 500;

export interface ClockOptions {
  env: Env;
  storage: Storage;
  submit: (operation: Operation) => Promise<unknown>;
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

  const tickAll = async () => {
    for (;;) {
      const ids = await storage.read((reader) => reader.due(reader.now(), dueAtOnce));
      const ticks = ids.map((to) => submit({ type: "command", namespace: null, to, command: { type: "tick" } }));
      for (const tick of await Promise.allSettled(ticks)) {
        if (tick.status === "rejected") {
          throw tick.reason;
        }
      }
      if (ids.length < dueAtOnce || closing.aborted) {
        return;
      }
    }
  };

  const fire = async () => {
    running = true;
    armedFor = Number.POSITIVE_INFINITY;
    let failed = false;
    try {
      await tickAll();
    } catch (error) {
      failed = true;
      if (!closing.aborted) {
        logger.warn("The clock could not reach the database and tries again in a second", { error: String(error) });
      }
    }
    running = false;
    if (!closing.aborted) {
      await rearm(failed);
    }
  };

  const rearm = async (failed: boolean) => {
    const soonest = env.now() + sweepMs;
    const due = failed ? null : await storage.read(nextDue).catch(() => null);
    if (!closing.aborted) {
      // Something due already was tried just now; it gets a moment before the next try.
      arm(Math.min(soonest, armedFor, Math.max(due ?? soonest, env.now() + 1)));
    }
  };

  /** By our clock: a database whose clock is behind is not asked again before it can answer. */
  const nextDue = async (reader: Reader): Promise<number | null> => {
    const due = await reader.nextDue();
    ahead = reader.now() - env.now();
    return due === null ? null : due - ahead;
  };

  return {
    start: () => rearm(false),
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
