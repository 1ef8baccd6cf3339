/** The facts to report, in the order in which they happened. */

import { awaitedResult } from "@aikirun/lib/internal";
import type { Address, ChildStart, NewEntry, OpenWait, Report, Value } from "@aikirun/lib/protocol";
import { callSiteOf, type OpenCall, type Unnumbered } from "./call.ts";

/** A fact that is not recorded yet. */
export interface Posted {
  readonly entry: NewEntry;
  readonly call: OpenCall;
  /** For a withdrawal: the withdrawn call. */
  readonly wait?: OpenCall;
  /** Whether the handler has already received the fact. No effect begins before such a fact is recorded. */
  seen: boolean;
  /** Called once it is recorded; null when nothing waits for that. */
  recorded: ((seq: number) => void) | null;
  /** Stands for the `seq` in later call sites while the fact is not recorded. */
  place?: Unnumbered;
  /** Causes no report by itself: the fact is sent with the next report. */
  isDeferred?: boolean;
}

export interface PostedWait {
  readonly wait: OpenWait;
  readonly call: OpenCall;
}

export interface PostedStart {
  readonly start: ChildStart;
  readonly call: OpenCall;
  /** `value` was recorded instead of the start: a conflict, or the child that an earlier attempt started. */
  readonly recorded: (seq: number, value: Value | undefined) => void;
}

/** The facts of one report. */
export interface ReportContent {
  entries: Posted[];
  opens: PostedWait[];
  starts: PostedStart[];
  /** False when facts are left for the next report. */
  whole: boolean;
  /** Whether it holds a fact that the handler has already received. */
  seen: boolean;
}

/** Limits of one report. A request holds several reports. */
const reportCharacters = 1_000_000;
const reportItems = 500;
/**
 * The maximum number of children that one report of a later attempt starts. An earlier attempt may have started such a
 * child, and the child may have ended. The server then records the child's output, of up to 2 MB, in the transaction of
 * the report.
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

  /** `attempt` is the run's attempt, counted from 1. */
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

  /** Call when the handler receives the fact before it is recorded. */
  markReceived(posted: Posted): Unnumbered {
    this.#count(posted, -1);
    posted.seen = true;
    posted.recorded = null;
    this.#count(posted, 1);
    posted.place = { seq: null };
    return posted.place;
  }

  /** The fact no longer waits for another report: it causes a report by itself. */
  undefer(posted: Posted): void {
    if (!this.isHolding(posted)) return;
    this.#count(posted, -1);
    posted.isDeferred = false;
    this.#count(posted, 1);
  }

  /** Whether it holds a fact that the handler has already received. */
  get seen(): boolean {
    return this.#seen > 0;
  }

  /** Whether something continues once a fact is recorded. */
  get hasContinuation(): boolean {
    return this.#awaited > 0 || this.#starts.length > 0;
  }

  /** Whether any fact causes a report by itself. */
  get urgent(): boolean {
    return this.#entries.length > this.#deferred || this.#opens.length > 0 || this.#starts.length > 0;
  }

  get empty(): boolean {
    return this.#entries.length === 0 && this.#opens.length === 0 && this.#starts.length === 0;
  }

  /** Drops a wait that is not open at the server yet, if the entry recorded at this address ends it. */
  dropWait(recorded: Address): void {
    const isOver = ({ wait: { address, type } }: PostedWait) =>
      address === recorded || (type === "child" && awaitedResult(address) === recorded);
    if (this.#opens.some(isOver)) this.#opens = this.#opens.filter((open) => !isOver(open));
  }

  /** Drops the wait at this address. Returns whether it was here, so that the server has not opened it. */
  withdrawWait(address: Address): boolean {
    const before = this.#opens.length;
    this.#opens = this.#opens.filter(({ wait }) => wait.address !== address);
    return this.#opens.length < before;
  }

  /** Drops all facts of these calls. */
  dropCalls(isDropped: (call: OpenCall) => boolean): void {
    for (const posted of this.#entries) if (isDropped(posted.call)) this.#count(posted, -1);
    this.#entries = this.#entries.filter(({ call }) => !isDropped(call));
    this.#opens = this.#opens.filter(({ call }) => !isDropped(call));
    this.#starts = this.#starts.filter(({ call }) => !isDropped(call));
  }

  /** Drops waits and child starts, which a run that ends no longer needs. */
  dropWaits(): void {
    this.#opens = [];
    this.#starts = [];
  }

  /** For a run that fails: keeps `first` and then the other entries. Drops everything that would follow from them. */
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

  /** Removes and returns as much as fits into one report: entries first, then waits, then children. */
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

/** The content as it is sent, with the call site of each call. */
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
    case "reused":
    case "withdrawn":
      return 0;
    default:
      return value satisfies never;
  }
}

function weightOfStart({ start }: PostedStart): number {
  return start.spec.input?.length ?? 0;
}
