import type { Env } from "@aikirun/lib";
import { settlesWithin } from "@aikirun/lib/internal";

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
    before = come.then(async () => void (await settlesWithin(env, ended, patienceMs)));
    return { come, end: () => end() };
  };
}
