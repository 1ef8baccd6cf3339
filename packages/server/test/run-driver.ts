/** Applies commands to one run, one after another, for tests of the core. */

import { withdrawnAddress } from "@aikirun/lib/internal";
import type { NewEntry, Next, OpenWait, Report } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import { decide } from "../src/core/decide.ts";
import { entryKeysOf, keyText } from "../src/core/entry-keys.ts";
import type { Claim, Command, Decision, DecisionContext, Effect, NewFact, Run, State } from "../src/core/run.ts";
import { openRun } from "../src/core/start.ts";
import { kinds, settings } from "./runs.ts";

const beginning = 1_000_000;

export class RunDriver {
  run: Run;
  /** Milliseconds since the run was started. */
  clock = 0;
  readonly journal: NewFact[] = [];
  readonly effects: Effect[] = [];
  #signals = 0;
  readonly #moment: Omit<DecisionContext, "now" | "latest" | "fenceFloor">;
  fenceFloor = 0;

  constructor(spec: Partial<Parameters<typeof openRun>[1]> = {}, more: Partial<DecisionContext> = {}) {
    this.#moment = { bootAt: 0, settings, ...more };
    this.run = openRun("default", { id: uuid(1), name: "order", versionId: "1", ...spec }, this.#now());
  }

  #now(): DecisionContext {
    const now = beginning + this.clock;
    return { now, latest: now, ...this.#moment, fenceFloor: this.fenceFloor };
  }

  get status(): State["status"] {
    return this.run.state.status;
  }

  /** When the run is due, in milliseconds since it was started; null: never. */
  get dueAt(): number | null {
    return this.run.dueAt === null ? null : this.run.dueAt - beginning;
  }

  /** The types of all entries, in order. */
  get entryTypes(): string[] {
    return kinds(this.journal);
  }

  /** The value at an address, in its latest attempt. */
  at(address: string): NewFact["value"] | undefined {
    return this.journal.findLast((entry) => entry.address === address)?.value;
  }

  try(command: Command): Decision {
    const wanted = new Set(entryKeysOf(this.run, command).map(keyText));
    const known = this.journal.filter((entry) => wanted.has(keyText(entry)));
    const decision = decide(this.run, "known" in command ? { ...command, known } : command, this.#now());
    if (decision.ok) {
      this.run = decision.run;
      this.journal.push(...decision.entries);
      this.effects.push(...decision.effects);
    }
    return decision;
  }

  do(command: Command): this {
    const decision = this.try(command);
    if (!decision.ok) {
      throw new Error(`${command.type} was refused: ${decision.code}: ${decision.message}`);
    }
    return this;
  }

  /** Advances the clock, and applies a tick each time the run is due. */
  pass(ms: number): this {
    const until = this.clock + ms;
    while (this.dueAt !== null && this.dueAt <= until) {
      this.clock = Math.max(this.clock, this.dueAt);
      this.do({ type: "tick" });
    }
    this.clock = until;
    return this;
  }

  claim(session = "session-1", more: Partial<Claim> = {}): this {
    return this.do({
      type: "claim",
      claim: { claimId: `claim-${this.run.fence + 1}`, session, worker: "worker", leaseMs: 90_000, ...more },
    });
  }

  renew(session = "session-1"): this {
    return this.do({ type: "renew", session, fence: this.run.fence, leaseMs: 90_000 });
  }

  report(next: Next, more: Partial<Report> = {}): this {
    return this.do(this.reporting(next, more));
  }

  reporting(next: Next, more: Partial<Report> = {}): Command {
    const { state, fence, inbox, tail, id } = this.run;
    const session = state.status === "running" ? state.session : "session-1";
    const report: Report = {
      reportId: `report-${this.run.revision}-${tail}`,
      runId: id,
      fence,
      seen: inbox,
      after: tail,
      entries: [],
      opens: [],
      starts: [],
      next,
      ...more,
    };
    return { type: "report", session, worker: "worker", report, known: [] };
  }

  /** The worker opens these waits and suspends the run. */
  suspend(...opens: OpenWait[]): this {
    return this.report({ type: "suspend", children: 0 }, { opens });
  }

  /** The worker opens these waits and continues. */
  open(...opens: OpenWait[]): this {
    return this.report({ type: "continue" }, { opens });
  }

  record(...entries: NewEntry[]): this {
    return this.report({ type: "continue" }, { entries });
  }

  /** The worker withdraws these waits. */
  withdraw(...addresses: string[]): this {
    return this.record(
      ...addresses.map((address) => ({ address: withdrawnAddress(address), value: { type: "withdrawn" } as const })),
    );
  }

  send(name: string, data?: string, referenceId?: string): this {
    const arrival = {
      type: "event",
      signalId: this.#signal(),
      name,
      ...(data === undefined ? {} : { data }),
      ...(referenceId === undefined ? {} : { referenceId }),
    } as const;
    return this.do({ type: "receive", arrival, known: [] });
  }

  signal(type: "cancel" | "pause" | "resume" | "wake", signalId: string = this.#signal()): this {
    return this.do({ type, signalId, known: [] });
  }

  retry(): this {
    return this.do({ type: "retry", signalId: this.#signal(), newRunId: uuid(5), known: [] });
  }

  #signal(): string {
    this.#signals += 1;
    return `signal-${this.#signals}`;
  }
}
