import type { RunId } from "@aikirun/lib/protocol";

/** Runs of one priority, in order of arrival. The iterator never meets a removed run, and meets those added later. */
interface Level {
  readonly priority: number;
  readonly ids: Set<RunId>;
  readonly next: Iterator<RunId>;
}

/** The cached runs of one queue: highest priority first, then the oldest. Any of them may be removed. */
export class Entries {
  /** Levels that have a run, by descending priority. */
  #levels: Level[] = [];
  readonly #levelOf = new Map<RunId, Level>();

  get size(): number {
    return this.#levelOf.size;
  }

  /** The priority of the next run; minus infinity if there is none. */
  get priority(): number {
    return this.#levels[0]?.priority ?? Number.NEGATIVE_INFINITY;
  }

  add(id: RunId, priority: number): void {
    let level = this.#levels.find((other) => other.priority === priority);
    if (level === undefined) {
      const ids = new Set<RunId>();
      level = { priority, ids, next: ids.values() };
      this.#levels.push(level);
      this.#levels.sort((left, right) => right.priority - left.priority);
    }
    level.ids.add(id);
    this.#levelOf.set(id, level);
  }

  remove(id: RunId): void {
    const level = this.#levelOf.get(id);
    this.#levelOf.delete(id);
    if (level?.ids.delete(id) === true && level.ids.size === 0) {
      this.#levels = this.#levels.filter((other) => other !== level);
    }
  }

  take(): RunId | null {
    const next = this.#levels[0]?.next.next();
    if (next === undefined || next.done === true) return null;
    this.remove(next.value);
    return next.value;
  }
}
