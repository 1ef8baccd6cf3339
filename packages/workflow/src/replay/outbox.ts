/** What is to be reported, in the order in which it happened. */

import { awaitedResult } from "@aikirun/lib";
import type { Address, ChildStart, NewEntry, OpenWait } from "@aikirun/lib/protocol";

/** A fact on its way to the record. */
export interface Posted {
  entry: NewEntry;
  /** The handler has seen it already: no effect begins before it is recorded. */
  seen: boolean;
  /** What goes on once it is recorded; null when nothing waits for that. */
  recorded: ((seq: number) => void) | null;
}

export interface PostedStart {
  start: ChildStart;
  recorded: (seq: number) => void;
}

/** What goes into one report. */
export interface Parcel {
  entries: Posted[];
  opens: OpenWait[];
  starts: PostedStart[];
  /** False when more is left for the next one. */
  whole: boolean;
  /** Whether it holds anything that the handler has seen. */
  seen: boolean;
}

/** Of one report; a request has room for a few of them. */
const parcelCharacters = 1_000_000;
const parcelItems = 500;

export class Outbox {
  #entries: Posted[] = [];
  #opens: OpenWait[] = [];
  #starts: PostedStart[] = [];
  #seen = 0;
  #awaited = 0;
  #observed = 0;

  post(posted: Posted): void {
    this.#entries.push(posted);
    this.#count(posted, 1);
  }

  open(wait: OpenWait): void {
    this.#opens.push(wait);
  }

  start(start: PostedStart): void {
    this.#starts.push(start);
  }

  /** Whether it holds anything that the handler has seen. */
  get seen(): boolean {
    return this.#seen > 0;
  }

  /** Whether something goes on once it is recorded. */
  get moves(): boolean {
    return this.#awaited > 0 || this.#starts.length > 0;
  }

  /** Whether it is worth a report by itself; an observation of the clock is not. */
  get urgent(): boolean {
    return this.#entries.length > this.#observed || this.#opens.length > 0 || this.#starts.length > 0;
  }

  get empty(): boolean {
    return this.#entries.length === 0 && this.#opens.length === 0 && this.#starts.length === 0;
  }

  /** What is recorded here has ended the wait, of an earlier slice, that was to be opened again. */
  dropWait(recorded: Address): void {
    const isOver = ({ address, type }: OpenWait) =>
      address === recorded || (type === "child" && awaitedResult(address) === recorded);
    if (this.#opens.some(isOver)) this.#opens = this.#opens.filter((wait) => !isOver(wait));
  }

  /** What a run that ends no longer needs. */
  dropWaits(): void {
    this.#opens = [];
    this.#starts = [];
  }

  clear(): void {
    this.dropWaits();
    this.#entries = [];
    this.#seen = 0;
    this.#awaited = 0;
    this.#observed = 0;
  }

  /** Takes as much as fits into one report: facts first, then waits, then children. */
  take(): Parcel {
    let room = parcelItems;
    let characters = parcelCharacters;
    const fitting = (weights: Iterable<number>): number => {
      let taken = 0;
      for (const weight of weights) {
        if (room === 0 || (characters < weight && room < parcelItems)) break;
        room -= 1;
        characters -= weight;
        taken += 1;
      }
      return taken;
    };
    const entries = this.#entries.splice(0, fitting(this.#entries.map(weightOfEntry)));
    const opens = this.#entries.length > 0 ? [] : this.#opens.splice(0, fitting(this.#opens.map(() => 1)));
    const isFull = this.#entries.length > 0 || this.#opens.length > 0;
    const starts = isFull ? [] : this.#starts.splice(0, fitting(this.#starts.map(weightOfStart)));
    for (const posted of entries) this.#count(posted, -1);
    return { entries, opens, starts, whole: this.empty, seen: entries.some(({ seen }) => seen) };
  }

  #count({ entry, seen, recorded }: Posted, by: 1 | -1): void {
    if (seen) this.#seen += by;
    if (recorded !== null) this.#awaited += by;
    if (entry.value.type === "observed") this.#observed += by;
  }
}

function weightOfEntry({ entry: { value } }: Posted): number {
  if (value.type === "returned") return value.output?.length ?? 0;
  if (value.type === "observed") return value.data.length;
  return value.error.message.length + (value.error.stack?.length ?? 0);
}

function weightOfStart({ start }: PostedStart): number {
  return start.spec.input?.length ?? 0;
}
