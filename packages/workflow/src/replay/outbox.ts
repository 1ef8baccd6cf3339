/** What is to be reported, in the order in which it happened. */

import { awaitedResult } from "@aikirun/lib/internal";
import type { Address, ChildStart, NewEntry, OpenWait, Report, Value } from "@aikirun/lib/protocol";
import { callSiteOf, type OpenCall, type Unnumbered } from "./call.ts";

/** A fact on its way to the record. */
export interface Posted {
  readonly entry: NewEntry;
  readonly call: OpenCall;
  /** Of a withdrawal: the wait that is given up. */
  readonly wait?: OpenCall;
  /** The handler has seen it already: no effect begins before it is recorded. */
  seen: boolean;
  /** What goes on once it is recorded; null when nothing waits for that. */
  recorded: ((seq: number) => void) | null;
  /** What later calls name instead of its `seq`, when the handler has seen it before it is recorded. */
  place?: Unnumbered;
  /** Causes no report by itself: it is sent with the next one. */
  isDeferred?: boolean;
}

export interface PostedWait {
  readonly wait: OpenWait;
  readonly call: OpenCall;
}

export interface PostedStart {
  readonly start: ChildStart;
  readonly call: OpenCall;
  /** `value` is what was recorded instead of the start: a conflict, or the child that an earlier attempt began. */
  readonly recorded: (seq: number, value: Value | undefined) => void;
}

/** What goes into one report. */
export interface ReportContent {
  entries: Posted[];
  opens: PostedWait[];
  starts: PostedStart[];
  /** False when more is left for the next one. */
  whole: boolean;
  /** Whether it holds anything that the handler has seen. */
  seen: boolean;
}

/** Of one report; a request has room for a few of them. */
const reportCharacters = 1_000_000;
const reportItems = 500;
/**
 * How many children one report of a later attempt starts at most. The server records it, in one transaction, with the
 * output, of up to 2 MB, of each child that an earlier attempt started and that has ended.
 */
const retriedStarts = 4;

export class Outbox {
  readonly #startsAtMost: number;
  #entries: Posted[] = [];
  #opens: PostedWait[] = [];
  #starts: PostedStart[] = [];
  #seen = 0;
  #awaited = 0;
  #deferred = 0;

  /** `attempt`: of the run, counted from 1. */
  constructor(attempt: number) {
    this.#startsAtMost = attempt > 1 ? retriedStarts : reportItems;
  }

  post(posted: Posted): void {
    this.#entries.push(posted);
    this.#count(posted, 1);
  }

  open(wait: PostedWait): void {
    this.#opens.push(wait);
  }

  start(start: PostedStart): void {
    this.#starts.push(start);
  }

  /** Whether the fact has not been sent yet. */
  isHolding(posted: Posted): boolean {
    return this.#entries.includes(posted);
  }

  /** The handler sees the fact before it is recorded. */
  showEarly(posted: Posted): Unnumbered {
    this.#count(posted, -1);
    posted.seen = true;
    posted.recorded = null;
    this.#count(posted, 1);
    posted.place = { seq: null };
    return posted.place;
  }

  /** The fact can no longer wait for another report. */
  undefer(posted: Posted): void {
    if (!this.isHolding(posted)) return;
    this.#count(posted, -1);
    posted.isDeferred = false;
    this.#count(posted, 1);
  }

  /** Whether it holds anything that the handler has seen. */
  get seen(): boolean {
    return this.#seen > 0;
  }

  /** Whether something goes on once it is recorded. */
  get hasContinuation(): boolean {
    return this.#awaited > 0 || this.#starts.length > 0;
  }

  /** Whether it is worth a report by itself. */
  get urgent(): boolean {
    return this.#entries.length > this.#deferred || this.#opens.length > 0 || this.#starts.length > 0;
  }

  get empty(): boolean {
    return this.#entries.length === 0 && this.#opens.length === 0 && this.#starts.length === 0;
  }

  /** What is recorded here has ended the wait, of an earlier activation, that was to be opened again. */
  dropWait(recorded: Address): void {
    const isOver = ({ wait: { address, type } }: PostedWait) =>
      address === recorded || (type === "child" && awaitedResult(address) === recorded);
    if (this.#opens.some(isOver)) this.#opens = this.#opens.filter((open) => !isOver(open));
  }

  /** Whether the wait of this address was still to be opened: it no longer is. */
  withdrawWait(address: Address): boolean {
    const before = this.#opens.length;
    this.#opens = this.#opens.filter(({ wait }) => wait.address !== address);
    return this.#opens.length < before;
  }

  /** What these calls came to is not recorded. */
  dropCalls(isDropped: (call: OpenCall) => boolean): void {
    for (const posted of this.#entries) if (isDropped(posted.call)) this.#count(posted, -1);
    this.#entries = this.#entries.filter(({ call }) => !isDropped(call));
    this.#opens = this.#opens.filter(({ call }) => !isDropped(call));
    this.#starts = this.#starts.filter(({ call }) => !isDropped(call));
  }

  /** What a run that ends no longer needs. */
  dropWaits(): void {
    this.#opens = [];
    this.#starts = [];
  }

  /** Of a run that is to fail: facts alone are still recorded, these before the others, and nothing goes on after. */
  keepFacts(first: readonly Posted[]): void {
    const facts = [...first, ...this.#entries];
    this.clear();
    for (const fact of facts) {
      fact.recorded = null;
      this.post(fact);
    }
  }

  clear(): void {
    this.dropWaits();
    this.#entries = [];
    this.#seen = 0;
    this.#awaited = 0;
    this.#deferred = 0;
  }

  /** Takes as much as fits into one report: facts first, then waits, then children. */
  take(): ReportContent {
    let room = reportItems;
    let characters = reportCharacters;
    const fitting = (weights: Iterable<number>): number => {
      let taken = 0;
      for (const weight of weights) {
        if (room === 0 || (characters < weight && room < reportItems)) break;
        room -= 1;
        characters -= weight;
        taken += 1;
      }
      return taken;
    };
    const entries = this.#entries.splice(0, fitting(this.#entries.map(weightOfEntry)));
    const opens = this.#entries.length > 0 ? [] : this.#opens.splice(0, fitting(this.#opens.map(() => 1)));
    const isFull = this.#entries.length > 0 || this.#opens.length > 0;
    const next = isFull ? [] : this.#starts.slice(0, this.#startsAtMost);
    const starts = this.#starts.splice(0, fitting(next.map(weightOfStart)));
    for (const posted of entries) this.#count(posted, -1);
    return { entries, opens, starts, whole: this.empty, seen: entries.some(({ seen }) => seen) };
  }

  #count({ seen, recorded, isDeferred = false }: Posted, by: 1 | -1): void {
    if (seen) this.#seen += by;
    if (isDeferred) this.#deferred += by;
    else if (recorded !== null) this.#awaited += by;
  }
}

/** The content as it is sent, with the moment at which each call was made. */
export function packed({ entries, opens, starts }: ReportContent): Pick<Report, "entries" | "opens" | "starts"> {
  const seqOf = (place: Unnumbered): number =>
    place.seq ?? -(entries.findIndex((posted) => posted.place === place) + 1);
  return {
    entries: entries.map((posted) => packedEntry(posted, seqOf)),
    opens: opens.map(({ wait, call }) => ({ ...wait, callSite: callSiteOf(call, seqOf) })),
    starts: starts.map(({ start, call }) => ({ ...start, callSite: callSiteOf(call, seqOf) })),
  };
}

function packedEntry({ entry, call, wait }: Posted, seqOf: (place: Unnumbered) => number): NewEntry {
  const { address, startedAt } = entry;
  const value = wait === undefined ? entry.value : ({ type: "withdrawn", wait: callSiteOf(wait, seqOf) } as const);
  const callSite = callSiteOf(call, seqOf);
  return startedAt === undefined ? { address, value, callSite } : { address, value, startedAt, callSite };
}

function weightOfEntry({ entry: { value } }: Posted): number {
  switch (value.type) {
    case "returned":
      return value.output?.length ?? 0;
    case "observed":
      return value.data.length;
    case "threw":
    case "retrying":
      return value.error.message.length + (value.error.stack?.length ?? 0);
    case "asked":
    case "recalled":
    case "withdrawn":
      return 0;
    default:
      return value satisfies never;
  }
}

function weightOfStart({ start }: PostedStart): number {
  return start.spec.input?.length ?? 0;
}
