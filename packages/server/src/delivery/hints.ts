import type { RunId } from "@aikirun/lib/protocol";

interface Item {
  id: RunId;
  isGone: boolean;
}

/** Hints of one priority, in order of arrival. */
interface Level {
  priority: number;
  items: Item[];
  head: number;
  size: number;
}

/** Rewritten when so many places are used up, and more than half of all. */
const wasteful = 1_000;

/** Hints of one stream: highest priority first, then first hinted; any of them may be removed. */
export class Hints {
  readonly #levels: Level[] = [];
  readonly #places = new Map<RunId, { item: Item; level: Level }>();

  get size(): number {
    return this.#places.size;
  }

  /** Of the hint that is next; of an empty list the lowest there is. */
  get priority(): number {
    return this.#levels[0]?.priority ?? Number.NEGATIVE_INFINITY;
  }

  add(id: RunId, priority: number): void {
    const level = this.#levelOf(priority);
    const item = { id, isGone: false };
    level.items.push(item);
    level.size += 1;
    this.#places.set(id, { item, level });
  }

  remove(id: RunId): void {
    const place = this.#places.get(id);
    if (place !== undefined) {
      this.#places.delete(id);
      place.item.isGone = true;
      this.#shrink(place.level);
    }
  }

  take(): RunId | null {
    const level = this.#levels[0];
    if (level === undefined) {
      return null;
    }
    let item = level.items[level.head++];
    while (item?.isGone === true) {
      item = level.items[level.head++];
    }
    if (item !== undefined) {
      this.#places.delete(item.id);
      this.#shrink(level);
    }
    return item?.id ?? null;
  }

  #levelOf(priority: number): Level {
    const found = this.#levels.find((level) => level.priority === priority);
    if (found !== undefined) {
      return found;
    }
    const level = { priority, items: [], head: 0, size: 0 };
    this.#levels.push(level);
    this.#levels.sort((left, right) => right.priority - left.priority);
    return level;
  }

  /** One of its hints is gone. */
  #shrink(level: Level): void {
    level.size -= 1;
    if (level.size === 0) {
      this.#levels.splice(this.#levels.indexOf(level), 1);
    } else if (level.items.length - level.size > Math.max(wasteful, level.size)) {
      level.items = level.items.slice(level.head).filter(({ isGone }) => !isGone);
      level.head = 0;
    }
  }
}
