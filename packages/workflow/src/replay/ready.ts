/** Recorded values that were asked for and not delivered yet; the one recorded first comes first. A binary heap. */
export class Ready<Item extends { readonly seq: number }> {
  readonly #heap: Item[] = [];

  get size(): number {
    return this.#heap.length;
  }

  push(item: Item): void {
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.seq <= item.seq) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = item;
  }

  pop(): Item | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      const left = heap[index * 2 + 1];
      const right = heap[index * 2 + 2];
      const isRight = left !== undefined && right !== undefined && right.seq < left.seq;
      const child = isRight ? right : left;
      if (child === undefined || child.seq >= last.seq) break;
      heap[index] = child;
      index = index * 2 + (isRight ? 2 : 1);
    }
    heap[index] = last;
    return first;
  }
}
