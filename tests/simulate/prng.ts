/** Seeded random numbers: sfc32. Each subsystem has its own stream, so that draws in one do not change the others. */

export interface Prng {
  /** In [0, 1). */
  next(): number;
  /** An integer in [0, limit). */
  below(limit: number): number;
  /** An integer in [from, to]. */
  between(from: number, to: number): number;
  chance(probability: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
  /** A number in [from, to]. Each order of magnitude is equally likely. */
  magnitude(from: number, to: number): number;
  /** A separate stream, which depends only on the seed and the label. */
  fork(label: string): Prng;
}

export function prng(seed: string): Prng {
  const next = sfc32(seed);
  for (let warm = 0; warm < 12; warm++) next();
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    next,
    below,
    between: (from, to) => from + below(to - from + 1),
    chance: (probability) => next() < probability,
    pick(items) {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error("Nothing to pick from.");
      return item;
    },
    magnitude: (from, to) => Math.round(from * (to / from) ** next()),
    fork: (label) => prng(`${seed}/${label}`),
  };
}

function sfc32(seed: string): () => number {
  let [a, b, c, d] = [hash(seed, 1), hash(seed, 2), hash(seed, 3), 1];
  return () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4_294_967_296;
  };
}

/** FNV-1a, 32 bits, continued from `basis`. */
export function hash(text: string, basis: number): number {
  let value = (0x811c9dc5 ^ Math.imul(basis, 0x9e3779b1)) | 0;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value | 0;
}
