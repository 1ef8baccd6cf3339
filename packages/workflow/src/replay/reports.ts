import { AikiError } from "@aikirun/lib";
import { describeError } from "@aikirun/lib/internal";
import type { Address, ClaimedRun, Entry, Failure, Next } from "@aikirun/lib/protocol";
import type { ActivationEnd, Host, ReportDraft } from "./contract.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Journal } from "./journal.ts";
import { type Outbox, packed, type ReportContent } from "./outbox.ts";
import { activationEnd, isPermanent, type ReportAnswer, reportAbandoned } from "./report-answer.ts";

/** A report that the server has not answered yet. */
interface InFlight {
  content: ReportContent;
  next: Next;
}

/** Called with the result of a report. */
export interface AnswerOutcomes {
  /** The run continues in this worker; if `pause` is true it must be released to be paused. */
  continued: (pause: boolean) => void;
  /** The activation has ended. */
  ended: (end: ActivationEnd) => void;
  /** The report was refused for good: the run fails with this error. */
  failed: (error: Failure) => void;
}

export interface ReportsOptions {
  host: Host;
  claimed: ClaimedRun;
  journal: Journal;
  deliveries: Deliveries;
  outbox: Outbox;
  /** A fingerprint of the code. */
  build: string;
  outcomes: AnswerOutcomes;
}

/** Sends the reports of one run, one at a time (P6), and receives the entries that answers and the run watch bring. */
export class Reports {
  readonly #options: ReportsOptions;
  /** The number of facts from outside of the run that were received: the last known `inbox`. */
  #seen: number;
  #inFlight: InFlight | null = null;
  /** Entries from the run watch that arrived while a report was in flight. */
  #waiting: Array<{ entries: Entry[]; inbox: number }> = [];
  #refusals = 0;

  constructor(options: ReportsOptions) {
    this.#options = options;
    this.#seen = options.claimed.inbox;
  }

  get position(): { readonly seen: number; readonly after: number } {
    return { seen: this.#seen, after: this.#options.journal.tail };
  }

  /** The `next` of the report in flight; null when none is in flight. */
  get next(): Next | null {
    return this.#inFlight?.next ?? null;
  }

  /** Whether the report in flight ends the activation, so that nothing may begin meanwhile. */
  get isHandingOver(): boolean {
    return this.#inFlight !== null && this.#inFlight.next.type !== "continue";
  }

  /** Whether the report in flight suspends the run and contains nothing that receives a `seq` from the answer. */
  get isOnlySuspending(): boolean {
    const { content, next } = this.#inFlight ?? {};
    return next?.type === "suspend" && content?.entries.length === 0 && content.starts.length === 0;
  }

  /** Whether the report in flight contains a value that the handler has already received. */
  get isSeenInFlight(): boolean {
    return this.#inFlight?.content.seen === true;
  }

  /** The run was claimed again; its journal holds the new entries. */
  resume({ inbox, journal }: ClaimedRun): void {
    this.#seen = inbox;
    this.#receive(journal, journal.at(-1)?.seq ?? 0);
  }

  /** Returns whether anything new was received. Entries after a gap are ignored. */
  receive(entries: Entry[], inbox: number): boolean {
    if (this.#inFlight !== null) {
      this.#waiting.push({ entries, inbox });
      return false;
    }
    const { journal } = this.#options;
    const fresh = journal.following(entries);
    if (fresh === null) return false;
    this.#seen = Math.max(this.#seen, inbox);
    if (fresh.length === 0) return false;
    this.#receive(fresh, journal.tail + fresh.length);
    return true;
  }

  send(next: Next, expecting: Address | null): void {
    const { host, outbox, build } = this.#options;
    const content = outbox.take();
    const then: Next = content.whole ? next : { type: "continue" };
    this.#inFlight = { content, next: then };
    const { entries, opens, starts } = packed(content);
    const after = this.#options.journal.tail;
    const draft: ReportDraft = { seen: this.#seen, after, build, entries, opens, starts, next: then };
    if (expecting !== null) draft.expecting = expecting;
    host.report(draft).then(
      (answer) => this.#answered(content, then, answer),
      (thrown) => this.#answered(content, then, reportAbandoned(thrown)),
    );
  }

  /** Ignores the answer of the report in flight. */
  stop(): void {
    this.#inFlight = null;
    this.#waiting = [];
  }

  #answered(content: ReportContent, next: Next, answer: ReportAnswer): void {
    if (this.#inFlight?.content !== content) return;
    this.#inFlight = null;
    if (answer.ok) this.#accepted(content, next, answer);
    else this.#refused(content, answer.code, answer.message);
  }

  #accepted(content: ReportContent, next: Next, answer: Extract<ReportAnswer, { ok: true }>): void {
    this.#seen = answer.inbox;
    let seq = answer.first;
    for (const posted of content.entries) {
      if (posted.place !== undefined) posted.place.seq = seq;
      posted.recorded?.(seq);
      seq += 1;
    }
    if (content.starts.length > 0) this.#started(content.starts, seq, answer.entries);
    this.#receive(answer.entries, answer.tail);
    for (const { start } of content.starts) this.#options.journal.claimAt(start.address);
    const end = activationEnd(next, answer.released);
    if (end !== null) {
      this.#options.outcomes.ended(end);
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { entries, inbox } of waiting) this.receive(entries, inbox);
    this.#options.outcomes.continued(answer.pause);
  }

  /** `seq` is the `seq` of the first start. */
  #started(starts: ReportContent["starts"], seq: number, entries: readonly Entry[]): void {
    const others = new Map(entries.map(({ address, value }) => [address, value]));
    for (const [index, { start, recorded }] of starts.entries()) recorded(seq + index, others.get(start.address));
  }

  /** A repeat would be refused too, so the run fails. Its entries are recorded first, unless they were refused too. */
  #refused(content: ReportContent, code: AikiError["code"], message: string): void {
    const { claimed, outbox, outcomes } = this.#options;
    if (!isPermanent(code) || this.#refusals > 1) {
      outcomes.ended({ type: "lost", code });
      return;
    }
    this.#refusals += 1;
    outbox.keepFacts(this.#refusals === 1 ? content.entries : []);
    outcomes.failed(describeError(new AikiError(code, message, { ids: { runId: claimed.id } })));
  }

  #receive(entries: readonly Entry[], tail: number): void {
    const { journal, deliveries, outbox } = this.#options;
    const known = journal.tail;
    for (const entry of entries.filter(({ seq }) => seq > known)) {
      deliveries.receive(entry);
      outbox.dropWait(entry.address);
    }
    journal.advance(tail);
  }
}
