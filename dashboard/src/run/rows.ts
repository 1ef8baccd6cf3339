/** The rows of a timeline: facts, repeated facts folded into one row, and the beginnings of attempts. */

import type { JournalFact } from "./facts.ts";

export type TimelineRow =
  | { type: "fact"; index: number }
  /** The facts from `first` to `last` repeat a pattern `count` times. `names`: what it consists of. */
  | { type: "fold"; first: number; last: number; names: string[]; count: number; isOpen: boolean }
  | { type: "attempt"; attempt: number };

/** A pattern has at most this many facts. */
const longestPattern = 6;
/** A pattern that is repeated less often is not folded. */
const fewestRepeats = 4;

/**
 * `isOpen` says of the first fact of a fold whether it is open; the fold that contains the fact `selected` always is.
 * Facts outside of `from` to `to` are left out.
 */
export function rowsOf(
  facts: readonly JournalFact[],
  isOpen: (first: number) => boolean,
  selected: number,
  { from, to }: { from: number; to: number },
): TimelineRow[] {
  const rows: TimelineRow[] = [];
  const isShown = ({ from: begin, to: end }: JournalFact) => end >= from && begin <= to;
  let attempt = 1;
  for (let index = 0; index < facts.length; ) {
    const fact = facts[index];
    if (fact === undefined) break;
    if (fact.attempt > attempt) {
      attempt = fact.attempt;
      rows.push({ type: "attempt", attempt });
    }
    const { length, count } = patternAt(facts, index);
    const last = index + length * count - 1;
    const isFold = count >= fewestRepeats;
    const shown = indexes(index, isFold ? last : index).filter((at) => {
      const one = facts[at];
      return one !== undefined && isShown(one);
    });
    if (isFold && shown.length > 0) {
      const names = facts.slice(index, index + length).map(({ name }) => name);
      const opened = isOpen(index) || (selected >= index && selected <= last);
      rows.push({ type: "fold", first: index, last, names, count, isOpen: opened });
      if (opened) rows.push(...shown.map((at): TimelineRow => ({ type: "fact", index: at })));
    } else {
      rows.push(...shown.map((at): TimelineRow => ({ type: "fact", index: at })));
    }
    index = isFold ? last + 1 : index + 1;
  }
  return rows;
}

function indexes(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
}

/** The shortest pattern that begins here and covers the most facts. */
function patternAt(facts: readonly JournalFact[], start: number): { length: number; count: number } {
  let best = { length: 1, count: 1 };
  for (let length = 1; length <= longestPattern; length++) {
    let count = 1;
    while (repeats(facts, start, length, start + length * count)) count += 1;
    if (count >= fewestRepeats && length * count > best.length * best.count) best = { length, count };
  }
  return best;
}

/** Whether the facts at `at` are like those at `start`, of the same attempt. */
function repeats(facts: readonly JournalFact[], start: number, length: number, at: number): boolean {
  for (let offset = 0; offset < length; offset++) {
    const [one, other] = [facts[start + offset], facts[at + offset]];
    if (one === undefined || other === undefined) return false;
    if (one.name !== other.name || one.kind !== other.kind || one.verb !== other.verb) return false;
    if (one.attempt !== other.attempt) return false;
  }
  return true;
}
