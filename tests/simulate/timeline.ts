/** Items by their due time, in a binary heap. Items with equal times keep the order in which they were added. */

interface TimelineEntry<Item> {
  at: number;
  order: number;
  item: Item | null;
}

export class Timeline<Item> {
  readonly #heap: Array<TimelineEntry<Item>> = [];
  #order = 0;

  add(at: number, item: Item): () => void {
    const entry: TimelineEntry<Item> = { at, order: this.#order++, item };
    this.#push(entry);
    return () => {
      entry.item = null;
    };
  }

  /** The due time of the first item. */
  first(): number | null {
    this.#drop();
    return this.#heap[0]?.at ?? null;
  }

  /** Removes and returns all items that are due. */
  *until(now: number): Generator<Item> {
    for (let first = this.first(); first !== null && first <= now; first = this.first()) {
      const item = this.#pop()?.item ?? null;
      if (item !== null) yield item;
    }
  }

  #drop(): void {
    while (this.#heap[0]?.item === null) this.#pop();
  }

  #push(entry: TimelineEntry<Item>): void {
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, entry)) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = entry;
  }

  #pop(): TimelineEntry<Item> | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      const left = heap[index * 2 + 1];
      const right = heap[index * 2 + 2];
      const isRight = left !== undefined && right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (child === undefined || isBefore(last, child)) break;
      heap[index] = child;
      index = index * 2 + (isRight ? 2 : 1);
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
