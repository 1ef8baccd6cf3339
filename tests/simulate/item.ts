/** The interface between the scheduler and the processes. */

/** A callback that the scheduler may execute. If it belongs to a process, the process must be alive. */
export interface SchedulerItem {
  process: Actor | null;
  label: string;
  run: () => void;
  isCancelled?: boolean;
}

/** A process as the scheduler sees it. */
export interface Actor {
  readonly isAlive: boolean;
  readonly isPaused: boolean;
  /** Keeps an item until the process continues. */
  postpone(item: SchedulerItem): void;
}

export interface Scheduler {
  readonly hasCaches: boolean;
  /** The world's time in epoch milliseconds. The clocks of processes may differ. */
  readonly now: number;
  /** Adds an item that may be executed from now on, in any order. */
  push(item: SchedulerItem): void;
  /** Adds an item that may be executed after `delayMs`. Returns a function that removes it. */
  after(delayMs: number, item: SchedulerItem): () => void;
  /** Resolves when the scheduler executes this item. Never resolves if the process has died. */
  turn(process: Actor | null, label: string, delayMs?: number): Promise<void>;
  trace(line: string): void;
}
