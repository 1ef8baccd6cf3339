import { backoffMs, pause, type RedisRefusal } from "@aikirun/client/internal";
import { Doorbells, type DoorbellsOptions, openDoorbells } from "./doorbells.ts";

/** Keeps doorbells open as long as Redis and the server let it. */
export interface Line {
  /** Null while none can be heard. */
  readonly doorbells: Doorbells | null;
  /** Resolves when Redis knows, or cannot be told, that nobody listens any more. */
  close(): Promise<void>;
}

export interface LineOptions extends DoorbellsOptions {
  /** Whether the server delivers through Redis. */
  delivers: () => boolean;
  /** Milliseconds. */
  maxRetryIntervalMs: number;
}

export function openLine(options: LineOptions): Line {
  const { env, notice, delivers, maxRetryIntervalMs } = options;
  const ended = new AbortController();
  let doorbells: Doorbells | null = null;
  let isKnownSilent = false;
  const kept = keep();

  async function keep(): Promise<void> {
    for (let failures = 0; !ended.signal.aborted; ) {
      const refusal = await hold();
      if (refusal !== null && !ended.signal.aborted) {
        notice.away(refusal);
      }
      failures = refusal === null ? 1 : failures + 1;
      await pause(env, backoffMs(env, failures, maxRetryIntervalMs), ended.signal);
    }
  }

  /** Opens doorbells and resolves when they are lost; to null when that is no news as long as they can be opened. */
  async function hold(): Promise<RedisRefusal | null> {
    if (isKnownSilent && !delivers()) {
      return null;
    }
    const opened = await openDoorbells(options);
    if (!(opened instanceof Doorbells)) {
      return opened;
    }
    isKnownSilent = !delivers();
    if (isKnownSilent || ended.signal.aborted) {
      opened.close();
      if (isKnownSilent) notice.silent();
      return null;
    }
    doorbells = opened;
    const refusal = await opened.lost;
    doorbells = null;
    return opened.isProven || refusal.code === "UNREACHABLE" ? null : refusal;
  }

  return {
    get doorbells() {
      return doorbells;
    },
    async close() {
      ended.abort();
      await doorbells?.leave();
      await kept;
    },
  };
}
