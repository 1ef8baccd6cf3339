/** A binary heap: the item with the lowest rank comes first. The rank of an item in the heap must not change. */
export class Heap<Item> {
  readonly #items: Item[] = [];
  readonly #rank: (item: Item) => number;

  constructor(rank: (item: Item) => number) {
    this.#rank = rank;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): Item | undefined {
    return this.#items[0];
  }

  push(item: Item): void {
    const items = this.#items;
    const rank = this.#rank(item);
    let index = items.length;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = items[above];
      if (parent === undefined || this.#rank(parent) <= rank) break;
      items[index] = parent;
      index = above;
    }
    items[index] = item;
  }

  pop(): Item | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    const rank = this.#rank(last);
    let index = 0;
    for (;;) {
      const left = items[index * 2 + 1];
      const right = items[index * 2 + 2];
      const isRight = left !== undefined && right !== undefined && this.#rank(right) < this.#rank(left);
      const child = isRight ? right : left;
      if (child === undefined || this.#rank(child) >= rank) break;
      items[index] = child;
      index = index * 2 + (isRight ? 2 : 1);
    }
    items[index] = last;
    return first;
  }
}
