/** What the scheduler and those it schedules know of each other. */

/** Something that may happen: on behalf of a process, which must be alive for it, or of nobody. */
export interface SchedulerItem {
  process: Actor | null;
  label: string;
  run: () => void;
  isCancelled?: boolean;
}

/** On whose behalf things happen. */
export interface Actor {
  readonly isAlive: boolean;
  readonly isPaused: boolean;
  /** Keeps what may not happen before it goes on. */
  postpone(item: SchedulerItem): void;
}

export interface Scheduler {
  readonly hasCaches: boolean;
  /** Epoch milliseconds of the world; what processes read may differ. */
  readonly now: number;
  /** May happen from now on, in any order with whatever else may. */
  push(item: SchedulerItem): void;
  /** May happen from `delayMs` on; returns what takes it back, as long as it has not happened. */
  after(delayMs: number, item: SchedulerItem): () => void;
  /** Resolves once the scheduler has come back to this; never when the process has died meanwhile. */
  turn(process: Actor | null, label: string, delayMs?: number): Promise<void>;
  trace(line: string): void;
}
