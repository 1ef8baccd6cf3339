import type { Env } from "@aikirun/lib";

/** One suspect's place in the line. */
export interface Turn {
  /** Resolves when it may begin. */
  readonly come: Promise<void>;
  /** It reported, or left this worker's hands: the next may begin. */
  end(): void;
}

/**
 * Runs that lapsed more than once begin one after the other, each when the one before has reported: one that brings
 * the process down again takes none of the others with it, nor are they blamed for it. Nobody waits longer than
 * `patienceMs` for the one before.
 */
export function suspects(env: Env, patienceMs: number): () => Turn {
  let before: Promise<void> = Promise.resolve();
  return () => {
    const come = before;
    let end: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    before = come.then(() => within(ended, patienceMs, env));
    return { come, end: () => end() };
  };
}

function within(work: Promise<void>, ms: number, env: Env): Promise<void> {
  return new Promise((resolve) => {
    const cancel = env.after(ms, resolve);
    void work.then(() => {
      cancel();
      resolve();
    });
  });
}
