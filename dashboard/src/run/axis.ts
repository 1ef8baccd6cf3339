/** Where a time is on the axis of a timeline. Long times in which nothing happens can be shortened. */

import type { JournalFact } from "./facts.ts";

export interface Axis {
  /** From 0 to 1, also for times outside of the axis. */
  position(at: number): number;
  /** The time at a position from 0 to 1. Epoch milliseconds. */
  timeAt(position: number): number;
  ticks: Array<{ at: number; position: number }>;
  /** The shortened times. */
  gaps: Array<{ from: number; to: number; position: number; width: number }>;
}

interface Segment {
  from: number;
  to: number;
  /** Its part of the axis, before all are divided by their sum. */
  weight: number;
  isGap: boolean;
}

/** A time without facts is shortened if it is longer than this part of the axis. */
const gapPart = 0.08;
/** How wide a shortened time is, as a part of the other times. */
const gapWidth = 0.03;
const tickCount = 5;

export function axisOf(facts: readonly JournalFact[], range: { from: number; to: number }, shortens: boolean): Axis {
  const segments = shortens ? shortened(facts, range) : [segment(range.from, range.to)];
  const sum = segments.reduce((total, { weight }) => total + weight, 0) || 1;
  let begin = 0;
  const placed = segments.map((one) => {
    const position = begin;
    begin += one.weight / sum;
    return { ...one, position, width: one.weight / sum };
  });
  const position = (at: number): number => {
    const found = placed.find(({ to }) => at <= to) ?? placed.at(-1);
    if (found === undefined) return 0;
    const within = found.to === found.from ? 0 : (at - found.from) / (found.to - found.from);
    return Math.min(1, Math.max(0, found.position + within * found.width));
  };
  const timeAt = (at: number): number => {
    const found = placed.find(({ position: start, width }) => at <= start + width) ?? placed.at(-1);
    if (found === undefined) return range.from;
    const within = found.width === 0 ? 0 : (at - found.position) / found.width;
    return found.from + within * (found.to - found.from);
  };
  const ticks = Array.from({ length: tickCount }, (_, index) => index / tickCount).map((part) => ({
    position: part,
    at: timeAt(part),
  }));
  return { position, timeAt, ticks, gaps: placed.filter(({ isGap }) => isGap) };
}

function segment(from: number, to: number): Segment {
  return { from, to, weight: Math.max(1, to - from), isGap: false };
}

function shortened(facts: readonly JournalFact[], { from, to }: { from: number; to: number }): Segment[] {
  const least = (to - from) * gapPart;
  // What waits does nothing: only its end is an event on the axis.
  const active = facts
    .map((fact) => (fact.isWait ? { from: fact.to, to: fact.to } : { from: fact.from, to: fact.to }))
    .filter((one) => one.to >= from && one.from <= to)
    .sort((left, right) => left.from - right.from);
  const segments: Segment[] = [];
  let begin = from;
  let reached = from;
  for (const one of [...active, { from: to, to }]) {
    if (one.from - reached > least) {
      if (reached > begin) segments.push(segment(begin, reached));
      segments.push({ from: reached, to: one.from, weight: 0, isGap: true });
      begin = one.from;
    }
    reached = Math.max(reached, one.to);
  }
  if (to > begin) segments.push(segment(begin, to));
  const rest = segments.reduce((total, { weight }) => total + weight, 0);
  for (const one of segments) if (one.isGap) one.weight = Math.max(1, rest * gapWidth);
  return segments;
}
