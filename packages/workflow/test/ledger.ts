import { arrivalAddress, resultAddress } from "@aikirun/lib/internal";
import type {
  Build,
  CallSite,
  ClaimedRun,
  Entry,
  Failure,
  NewEntry,
  OpenWait,
  ReportedStall,
  ReportResult,
  Value,
} from "@aikirun/lib/protocol";
import type { ReportDraft } from "../src/replay/contract.ts";

interface LedgerWait {
  address: string;
  type: OpenWait["type"];
  name: string | undefined;
  until: number | null;
  callSite: CallSite | undefined;
}

export type LedgerStatus =
  | "queued"
  | "running"
  | "suspended"
  | "paused"
  | "stalled"
  | "completed"
  | "failed"
  | "retrying";

/** A small server with one run: it follows the rules of the core. */
export class RunLedger {
  readonly runId = "01900000-0000-7000-8000-000000000001";
  readonly entries: Entry[] = [];
  readonly reports: ReportDraft[] = [];
  readonly started = new Map<string, { id: string; input: string | undefined; spec: object }>();
  readonly #now: () => number;
  waits: LedgerWait[] = [];
  status: LedgerStatus = "queued";
  output: string | undefined;
  error: Failure | undefined;
  stall: ReportedStall | undefined;
  build: Build | undefined;
  fence = 0;
  attempt = 1;
  inbox = 0;
  pause = false;
  /** The error with which starts of children are refused. */
  conflict: Failure | undefined;
  retry: ClaimedRun["retry"];
  #arrived = new Map<string, number>();
  #taken = new Map<string, number>();
  /** Arrivals that withdrawn waits gave back, of one event name. */
  readonly #returned: number[] = [];
  #awaitedChildren = 0;
  /** The last `seq` that the suspended execution has received; null if it cannot be resumed. */
  heldTail: number | null = null;
  #isResumed = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  get tail(): number {
    return this.entries.length;
  }

  claim(input: string | undefined, after: number | null): ClaimedRun {
    this.fence += 1;
    this.status = "running";
    this.pause = false;
    this.heldTail = null;
    this.#isResumed = after !== null;
    return {
      id: this.runId,
      name: "w",
      versionId: "1",
      ...(input !== undefined && { input }),
      ...(this.retry !== undefined && { retry: this.retry }),
      attempt: this.attempt,
      fence: this.fence,
      createdAt: 0,
      priority: 0,
      tags: [],
      origin: this.runId,
      inbox: this.inbox,
      isCached: after !== null,
      journal: this.entries.slice(after ?? 0),
      lostLeases: 0,
      now: this.#now(),
      waits:
        after === null ? this.waits.map(({ address, callSite }) => ({ address, ...(callSite && { callSite }) })) : [],
      ...(this.build !== undefined && { build: this.build }),
    };
  }

  report(draft: ReportDraft, fence: number): ReportResult {
    if (this.status !== "running" || fence !== this.fence) return { ok: false, code: "FENCED", message: "fenced" };
    if (draft.build !== undefined && draft.build !== this.build?.id) {
      this.build = { id: draft.build, since: this.build === undefined ? 0 : this.tail };
    }
    if (draft.opens.length > 10_000) return { ok: false, code: "LIMIT_EXCEEDED", message: "Too many waits." };
    for (const { address } of draft.entries) {
      if (this.#has(address)) throw new Error(`recorded twice: ${address}`);
    }
    this.reports.push(draft);
    const first = this.tail + 1;
    const placed = (callSite: CallSite | undefined): CallSite | undefined =>
      callSite && {
        ...callSite,
        madeAfter: callSite.madeAfter < 0 ? first - callSite.madeAfter - 1 : callSite.madeAfter,
      };
    for (const { address, value, callSite } of draft.entries)
      this.#record(address, this.#fixed(value), placed(callSite));
    const refused: Entry[] = [];
    for (const { address, spec, callSite } of draft.starts) {
      if (this.conflict !== undefined) {
        this.#record(address, { type: "threw", error: this.conflict }, placed(callSite));
        refused.push(...this.entries.slice(-1));
        this.inbox += 1;
        continue;
      }
      this.started.set(address, { id: spec.id, input: spec.input, spec });
      this.#record(address, { type: "started", runId: spec.id }, placed(callSite));
    }
    const own = this.tail;
    for (const { address, value } of draft.entries) if (value.type === "withdrawn") this.#withdraw(address);
    for (const wait of draft.opens) this.#open(wait, placed(wait.callSite));
    const released = this.#applyNext(draft);
    const others = this.entries.filter(({ seq }) => seq > draft.after && (seq < first || seq > own));
    const foreign = [...others, ...refused].sort((a, b) => a.seq - b.seq);
    return { ok: true, first, tail: this.tail, inbox: this.inbox, entries: foreign, released, pause: this.pause };
  }

  /** Sends an event to the run. */
  event(name: string, data?: unknown): void {
    const nth = this.#arrived.get(name) ?? 0;
    const value = { type: "arrived", name, ...(data !== undefined && { data: JSON.stringify(data) }) } as const;
    this.#record(arrivalAddress(name, `s${nth}`), value, undefined, 0);
    this.#arrived.set(name, nth + 1);
    this.inbox += 1;
    const wait = this.waits.find((open) => open.type === "event" && open.name === name);
    if (wait !== undefined) this.#end(wait, this.#take(name) ?? { type: "elapsed" });
  }

  /** Ends every wait whose deadline has passed. */
  tick(): void {
    for (const wait of this.waits.filter(({ until }) => until !== null && until <= this.#now())) {
      this.inbox += 1;
      this.#end(wait, { type: "elapsed" });
    }
  }

  /** The signal `wake`: ends open sleeps. */
  wake(): void {
    for (const wait of this.waits.filter(({ type }) => type === "sleep")) {
      this.inbox += 1;
      this.#end(wait, { type: "elapsed", early: true });
    }
  }

  childEnds(address: string, value: Extract<Value, { type: "returned" | "threw" }>): void {
    this.inbox += 1;
    this.#record(resultAddress(address), value);
    this.waits = this.waits.filter((wait) => !wait.address.startsWith(`${address}/`));
    if (this.status === "suspended" && this.#awaitedChildren > 0) this.status = "queued";
  }

  /** The earliest deadline of a wait. */
  nextDeadline(): number | null {
    const deadlines = this.waits.flatMap(({ until }) => (until === null ? [] : [until]));
    return deadlines.length === 0 ? null : Math.min(...deadlines);
  }

  at(address: string): Entry | undefined {
    return this.entries.findLast((entry) => entry.address === address);
  }

  #applyNext({ next, seen }: ReportDraft): boolean {
    switch (next.type) {
      case "continue":
        return false;
      case "suspend":
        if (seen !== this.inbox) return false;
        if (next.children === 0 && this.waits.length === 0 && !this.#isResumed) {
          this.status = "stalled";
          this.stall = { reason: "idle", idleMs: 0 };
          return true;
        }
        this.status = this.pause ? "paused" : "suspended";
        this.#awaitedChildren = next.children;
        this.heldTail = this.tail;
        return true;
      case "release":
        this.status = next.reason === "paused" ? "paused" : "queued";
        return true;
      case "stall":
        this.status = "stalled";
        this.stall = next.stall;
        if (next.stall.reason === "ambiguous_call") {
          const { reason, identity } = next.stall;
          const waits = this.waits.map(({ address }) => address).filter((address) => !address.includes("/"));
          this.#record(`stalled:#${this.fence}`, { type: "marked", mark: "stalled", reason, identity, waits });
        }
        return true;
      case "finish": {
        const { outcome } = next;
        if (outcome.status === "completed") {
          this.status = "completed";
          this.output = outcome.output;
        } else {
          this.status = outcome.retryInMs === null ? "failed" : "retrying";
          this.error = outcome.error;
          if (outcome.retryInMs !== null) this.attempt += 1;
        }
        this.waits = [];
        return true;
      }
      default:
        return next satisfies never;
    }
  }

  #withdraw(address: string): void {
    const wait = address.slice(0, -"/withdrawn".length);
    const taken = this.entries.find((entry) => entry.address === wait && entry.value.type === "received");
    this.waits = this.waits.filter((other) => other.address !== wait);
    if (taken?.value.type !== "received") return;
    const { name, nth } = taken.value;
    const next = this.waits.find((open) => open.type === "event" && open.name === name);
    if (next === undefined) this.#returned.push(nth);
    else this.#end(next, taken.value);
  }

  #open({ address, type, name, durationMs, until }: OpenWait, callSite: CallSite | undefined): void {
    if (this.#has(address) || this.waits.some((wait) => wait.address === address)) return;
    const value = type === "event" && name !== undefined ? this.#take(name) : null;
    const deadline = durationMs === null ? (until ?? null) : this.#now() + durationMs;
    if (value === null) {
      this.waits.push({ address, type, name, until: deadline, callSite });
    } else {
      this.#record(address, value, callSite);
      this.inbox += 1;
    }
  }

  #take(name: string): Value | null {
    const returned = this.#returned.shift();
    if (returned !== undefined) return { type: "received", name, nth: returned };
    const nth = this.#taken.get(name) ?? 0;
    if (nth >= (this.#arrived.get(name) ?? 0)) return null;
    this.#taken.set(name, nth + 1);
    return { type: "received", name, nth };
  }

  #end(wait: LedgerWait, value: Value): void {
    this.waits = this.waits.filter((other) => other !== wait);
    this.#record(wait.address, value, wait.callSite);
    if (this.status === "suspended") this.status = "queued";
  }

  #has(address: string): boolean {
    return this.entries.some((entry) => entry.address === address && entry.attempt === this.attempt);
  }

  #record(address: string, value: Value, callSite?: CallSite, attempt = this.attempt): void {
    const { runId, fence } = this;
    const entry = { runId, seq: this.tail + 1, address, attempt, at: this.#now(), fence, value };
    this.entries.push(callSite === undefined ? entry : { ...entry, callSite });
  }

  #fixed(value: NewEntry["value"]): Value {
    if (value.type !== "retrying") return value;
    return { type: "retrying", error: value.error, retryAt: this.#now() + value.retryInMs };
  }
}
