import type { Env } from "./env.ts";

/** What ended a wait. */
export type WaitEnd = "woken" | "aborted" | "timed_out";

/** What ends a wait. */
export interface WaitOptions {
  /** The longest wait, in milliseconds. Default: no limit. */
  timeoutMs?: number;
  /** The wait ends when one of them aborts, and at once when one has aborted before. */
  signals?: ReadonlyArray<AbortSignal | undefined>;
  /** Is called once with the function that ends the wait. Returns what undoes that, called when the wait has ended. */
  onBegin?: (wake: () => void) => (() => void) | undefined;
}

/** Waits until it is woken, a signal aborts, or the time is up, whichever comes first. Never rejects. */
export function waitUntil(
  env: Pick<Env, "after">,
  { timeoutMs, signals = [], onBegin }: WaitOptions,
): Promise<WaitEnd> {
  return new Promise((resolve) => {
    const cleanups: Array<() => void> = [];
    let isOver = false;
    const end = (how: WaitEnd) => {
      if (isOver) return;
      isOver = true;
      for (const cleanup of cleanups) cleanup();
      resolve(how);
    };
    const begin = (cleanup: (() => void) | undefined) => {
      if (cleanup === undefined) return;
      if (isOver) cleanup();
      else cleanups.push(cleanup);
    };
    for (const signal of signals) begin(onAbort(signal, () => end("aborted")));
    if (isOver) return;
    if (timeoutMs !== undefined) begin(env.after(timeoutMs, () => end("timed_out")));
    begin(onBegin?.(() => end("woken")));
  });
}

/** Whether `work` settles, in either way, within `timeoutMs` milliseconds. */
export async function settlesWithin(
  env: Pick<Env, "after">,
  work: Promise<unknown>,
  timeoutMs: number,
): Promise<boolean> {
  const onBegin = (wake: () => void): undefined => void work.then(wake, wake);
  return (await waitUntil(env, { timeoutMs, onBegin })) === "woken";
}

function onAbort(signal: AbortSignal | undefined, then: () => void): (() => void) | undefined {
  if (signal === undefined) return undefined;
  if (signal.aborted) {
    then();
    return undefined;
  }
  signal.addEventListener("abort", then, { once: true });
  return () => signal.removeEventListener("abort", then);
}
