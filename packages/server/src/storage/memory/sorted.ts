const most = 512;

/** A sorted set, in chunks of bounded size, so that the cost of a change depends on the chunk and not on the set. */
export class Sorted<T> {
  readonly #compare: (left: T, right: T) => number;
  readonly #chunks: T[][] = [];

  constructor(compare: (left: T, right: T) => number) {
    this.#compare = compare;
  }

  get empty(): boolean {
    return this.#chunks.length === 0;
  }

  add(item: T): void {
    const at = Math.min(this.#chunkOf(item), Math.max(0, this.#chunks.length - 1));
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([item]);
      return;
    }
    chunk.splice(this.#placeIn(chunk, item), 0, item);
    if (chunk.length > most) this.#chunks.splice(at + 1, 0, chunk.splice(most / 2));
  }

  delete(item: T): void {
    const at = this.#chunkOf(item);
    const chunk = this.#chunks[at];
    if (chunk === undefined) return;
    const place = this.#placeIn(chunk, item);
    const found = chunk[place];
    if (found === undefined || this.#compare(found, item) !== 0) return;
    chunk.splice(place, 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /** In order; only the items after `after` if it is given. */
  *ascending(after?: T): Generator<T> {
    for (let at = after === undefined ? 0 : this.#chunkOf(after); at < this.#chunks.length; at += 1) {
      for (const item of this.#chunks[at] ?? []) {
        if (after === undefined || this.#compare(item, after) > 0) yield item;
      }
    }
  }

  /** In reverse order; only the items before `before` if it is given. */
  *descending(before?: T): Generator<T> {
    const last = this.#chunks.length - 1;
    for (let at = before === undefined ? last : Math.min(this.#chunkOf(before), last); at >= 0; at -= 1) {
      const chunk = this.#chunks[at] ?? [];
      for (let place = chunk.length - 1; place >= 0; place -= 1) {
        const item = chunk[place];
        if (item !== undefined && (before === undefined || this.#compare(item, before) < 0)) yield item;
      }
    }
  }

  /** The index of the first chunk whose last item is not below `item`; the number of chunks if there is none. */
  #chunkOf(item: T): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const reach = this.#chunks[middle]?.at(-1);
      if (reach !== undefined && this.#compare(reach, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #placeIn(chunk: T[], item: T): number {
    let low = 0;
    let high = chunk.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = chunk[middle];
      if (other !== undefined && this.#compare(other, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Ids are compared by code unit, as SQLite's BINARY and PostgreSQL's "C" collation do for ASCII. */
export function byId(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
