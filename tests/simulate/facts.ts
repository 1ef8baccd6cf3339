/** Rules for the entries of every commit: their author, their order, and what they say about timers and events. */

import { withdrawnAddress } from "@aikirun/lib/internal";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import { maxDecisionAgeMs } from "../../packages/server/src/core/draft.ts";
import type { Wait } from "../../packages/server/src/core/run.ts";
import type { Commit, RowChange } from "./mirror.ts";
import type { RuleContext } from "./rule-context.ts";
import { type Holders, isOver, unboundOf } from "./rules.ts";

export function entryRules(context: RuleContext, holders: Holders): (commit: Commit) => void {
  const waits = new Waits(context);
  const events = new Events(context);
  return (commit) => {
    const tails = new Map<RunId, number>();
    for (const entry of commit.entries) {
      checkOrder(context, entry, commit, tails);
      checkAuthor(context, entry, holders);
      events.record(entry);
    }
    for (const change of commit.changes) {
      waits.check(change, commit);
      events.check(change);
    }
    for (const entry of commit.entries) waits.elapsed(entry, commit);
  };
}

/** `seq` has no gap, and an address has one value in an attempt. */
function checkOrder({ world, mirror }: RuleContext, entry: Entry, commit: Commit, tails: Map<RunId, number>): void {
  const { runId, seq, attempt, address } = entry;
  const name = world.names.of(runId);
  const tail = tails.get(runId) ?? mirror.journal(runId).at(-1)?.seq ?? 0;
  tails.set(runId, seq);
  if (seq !== tail + 1) world.violate("JOURNAL_ORDER", `${name} has entry ${seq} after ${tail}`);
  const again = commit.entries.some((other) => other !== entry && hasSameAddress(other, entry));
  if (again || mirror.entryAt(runId, attempt, address) !== undefined) {
    world.violate("ADDRESS", `${name} records ${address} twice`);
  }
  world.trace(`  ${name} #${seq} ${entry.value.type} ${address.replace(/[0-9a-f]{32}/g, (hash) => hash.slice(0, 4))}`);
}

function hasSameAddress(a: Entry, b: Entry): boolean {
  return a.runId === b.runId && a.attempt === b.attempt && a.address === b.address;
}

/** Only the holder records entries. */
function checkAuthor({ world, mirror }: RuleContext, entry: Entry, holders: Holders): void {
  if (entry.worker === undefined || entry.attempt === 0) return;
  const holder = holders.of(entry.runId, entry.fence);
  const row = mirror.runs.get(entry.runId);
  if (holder?.worker !== entry.worker) {
    const by = `${entry.worker}, but ${holder?.worker} holds it under fence ${entry.fence}`;
    world.violate("HOLDER", `${entry.address} of ${world.names.of(entry.runId)} was recorded by ${by}`);
  }
  if (row !== undefined && isOver(row)) {
    world.violate("FINAL_STATE", `${world.names.of(entry.runId)} has ended, but ${entry.address} is recorded`);
  }
}

/** A deadline is set once, never moves, and never fires early. */
class Waits {
  readonly #context: RuleContext;
  /** The deadlines of all waits, by run, attempt and address. */
  readonly #until = new Map<string, number | null>();

  constructor(context: RuleContext) {
    this.#context = context;
  }

  check({ before, after }: RowChange, { entries }: Commit): void {
    const { world } = this.#context;
    const name = world.names.of(after.id);
    const isSameAttempt = before?.attempt === after.attempt;
    for (const wait of after.waits) {
      const key = `${after.id} ${after.attempt} ${wait.address}`;
      const first = this.#until.get(key);
      if (first === undefined) {
        this.#until.set(key, wait.until);
        this.#checkFirst(name, wait, after.updatedAt - maxDecisionAgeMs);
      } else if (first !== wait.until) {
        world.violate("TIMER", `The deadline of ${wait.address} of ${name} moved from ${first} to ${wait.until}`);
      }
    }
    if (before !== null && !isSameAttempt && after.waits.length > 0) {
      world.violate("TIMER", `${name} begins attempt ${after.attempt} with waits of the previous attempt`);
    }
    if (!isSameAttempt || isOver(after)) return;
    for (const { address } of before?.waits ?? []) {
      const isOpen = after.waits.some((wait) => wait.address === address);
      const isAnswered = entries.some((entry) => entry.runId === after.id && endsWait(entry.address, address));
      if (!isOpen && !isAnswered)
        world.violate("LOST_WAIT", `${name} no longer waits at ${address}, but nothing is recorded`);
    }
  }

  elapsed({ runId, attempt, address, value, at }: Entry, { entries }: Commit): void {
    if (value.type !== "elapsed" || attempt === 0) return;
    const { world } = this.#context;
    const until = this.#until.get(`${runId} ${attempt} ${address}`);
    const name = world.names.of(runId);
    if (value.early === true) {
      const isRequested = entries.some((entry) => entry.runId === runId && entry.value.type === "marked");
      if (!isRequested) world.violate("TIMER", `${address} of ${name} was ended early without a request`);
    } else if (until === null || (until !== undefined && until > at)) {
      world.violate("TIMER", `${address} of ${name} elapsed at ${at}, before ${until}`);
    }
  }

  /** The wait was opened at `openedAt` or a little later. */
  #checkFirst(name: string, { address, until }: Wait, openedAt: number): void {
    const { world } = this.#context;
    if (until !== null && until <= openedAt)
      world.violate("TIMER", `${address} of ${name} was opened with a deadline that has passed`);
  }
}

/** A wait ends by an entry at its own address, by its withdrawal, or, if it waits for a child, by the child's end. */
function endsWait(address: string, wait: string): boolean {
  return (
    address === wait ||
    address === withdrawnAddress(wait) ||
    (address.endsWith("/result") && wait.startsWith(`${address.slice(0, -"/result".length)}/`))
  );
}

/** The wait that received an event. */
type ArrivalHolder = Pick<Entry, "attempt" | "address">;

/** The events of one name that one run has. */
interface ArrivalCounts {
  arrived: number;
  /** The wait that received each event. */
  holders: Map<number, ArrivalHolder>;
}

/** Each event reaches at most one wait, and the counts in the row agree with the journal. */
class Events {
  readonly #context: RuleContext;
  readonly #counts = new Map<string, ArrivalCounts>();
  readonly #withdrawn = new Set<string>();

  constructor(context: RuleContext) {
    this.#context = context;
  }

  record({ runId, attempt, address, value }: Entry): void {
    const { world } = this.#context;
    if (value.type === "arrived") {
      this.#of(runId, value.name).arrived += 1;
    } else if (value.type === "withdrawn") {
      this.#withdrawn.add(`${runId} ${attempt} ${address}`);
    } else if (value.type === "received") {
      const { arrived, holders } = this.#of(runId, value.name);
      const before = holders.get(value.nth);
      const run = world.names.of(runId);
      if (before !== undefined && !this.#isWithdrawn(runId, before)) {
        world.violate(
          "EVENT",
          `Event ${value.nth} of ${value.name} of ${run} was received by ${before.address} and ${address}`,
        );
      }
      holders.set(value.nth, { attempt, address });
      if (value.nth >= arrived) world.violate("EVENT", `${address} of ${run} received an event that has not arrived`);
    }
  }

  check({ after }: RowChange): void {
    const { world } = this.#context;
    for (const [name, arrivals] of after.events) {
      const { arrived, holders } = this.#of(after.id, name);
      const taken = [...holders.values()].filter((wait) => !this.#isWithdrawn(after.id, wait)).length;
      const claimed = arrivals.arrived - unboundOf(arrivals);
      if (arrived !== arrivals.arrived || taken !== claimed) {
        const run = world.names.of(after.id);
        const is = `${taken} of ${arrived}`;
        world.violate(
          "EVENT",
          `${run} counts ${claimed} of ${arrivals.arrived} ${name} as received; the journal has ${is}`,
        );
      }
    }
  }

  #isWithdrawn(runId: RunId, { attempt, address }: ArrivalHolder): boolean {
    return this.#withdrawn.has(`${runId} ${attempt} ${withdrawnAddress(address)}`);
  }

  #of(runId: RunId, name: string): ArrivalCounts {
    const key = `${runId} ${name}`;
    const counts = this.#counts.get(key) ?? { arrived: 0, holders: new Map() };
    this.#counts.set(key, counts);
    return counts;
  }
}
