import type { Env } from "@aikirun/lib";
import { backoffMs, pause, waitUntil } from "@aikirun/lib/internal";
import type { RedisRefusal } from "./connection.ts";

/** Something that uses a Redis connection, such as a subscription. */
export interface Linked {
  /** Resolves with the reason when it is lost. */
  readonly lost: Promise<RedisRefusal>;
}

/** Keeps one such object open: opens it again whenever it is lost. */
export interface RedisLink<Thing extends Linked> {
  /** Null while it is not open. */
  readonly current: Thing | null;
  /** Resolves after the first try to open it. */
  readonly tried: Promise<void>;
  /** Stops opening. Waits for an attempt in progress, then resolves with the object that is still open. */
  close(): Promise<Thing | null>;
}

/** How to keep something open. */
export interface RedisLinkOptions<Thing extends Linked> {
  /** Clock and randomness. */
  env: Env;
  /** Opens it. Never rejects. Null: there is nothing to open now, which is no failure. */
  open: () => Promise<{ ok: true; opened: Thing } | RedisRefusal | null>;
  /** It could not be opened (`lost` is null), or was lost. */
  onFailure: (refusal: RedisRefusal, lost: Thing | null) => void;
  /** The longest pause between two tries. Milliseconds. */
  maxRetryIntervalMs: number;
}

/** Opens it now, and again after growing pauses. */
export function redisLink<Thing extends Linked>(options: RedisLinkOptions<Thing>): RedisLink<Thing> {
  const { env, open, onFailure, maxRetryIntervalMs } = options;
  const ended = new AbortController();
  let current: Thing | null = null;
  let isTried: () => void = () => {};
  const tried = new Promise<void>((resolve) => {
    isTried = resolve;
  });

  const keep = async (): Promise<void> => {
    for (let failures = 0; !ended.signal.aborted; ) {
      const made = await open();
      failures = made?.ok === true ? 1 : failures + 1;
      if (made?.ok === true) current = made.opened;
      isTried();
      if (current !== null) {
        if (ended.signal.aborted) return;
        const opened = current;
        const onBegin = (wake: () => void): undefined => void opened.lost.then(wake);
        if ((await waitUntil(env, { signals: [ended.signal], onBegin })) === "aborted") return;
        current = null;
        onFailure(await opened.lost, opened);
      } else if (made?.ok === false) {
        onFailure(made, null);
      }
      await pause(env, backoffMs(env, failures, maxRetryIntervalMs), ended.signal);
    }
  };
  const kept = keep();

  return {
    get current() {
      return current;
    },
    tried,
    async close() {
      ended.abort();
      await kept;
      const left = current;
      current = null;
      return left;
    },
  };
}
