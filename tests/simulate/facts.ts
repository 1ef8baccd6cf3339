/** What every commit must keep, of entries: who wrote them, in which order, and what they say of timers and events. */

import { withdrawnAddress } from "@aikirun/lib/internal";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import { maxDecisionAgeMs } from "../../packages/server/src/core/draft.ts";
import type { Wait } from "../../packages/server/src/core/run.ts";
import type { Circumstances } from "./circumstances.ts";
import type { Commit, RowChange } from "./mirror.ts";
import { type Holders, isOver, unboundOf } from "./rules.ts";

export function factRules(around: Circumstances, holders: Holders): (commit: Commit) => void {
  const waits = new Waits(around);
  const events = new Events(around);
  return (commit) => {
    const tails = new Map<RunId, number>();
    for (const entry of commit.entries) {
      places(around, entry, commit, tails);
      authorship(around, entry, holders);
      events.note(entry);
    }
    for (const change of commit.changes) {
      waits.judge(change, commit);
      events.judge(change);
    }
    for (const entry of commit.entries) waits.elapsed(entry, commit);
  };
}

/** R3, and `seq` without a gap. */
function places({ world, mirror }: Circumstances, entry: Entry, commit: Commit, tails: Map<RunId, number>): void {
  const { runId, seq, attempt, address } = entry;
  const name = world.names.of(runId);
  const tail = tails.get(runId) ?? mirror.journal(runId).at(-1)?.seq ?? 0;
  tails.set(runId, seq);
  if (seq !== tail + 1) world.violate("SEQ", `${name} has entry ${seq} after ${tail}`);
  const again = commit.entries.some((other) => other !== entry && isSamePlace(other, entry));
  if (again || mirror.entryAt(runId, attempt, address) !== undefined) {
    world.violate("R3", `${name} records ${address} twice`);
  }
  world.trace(`  ${name} #${seq} ${entry.value.type} ${address.replace(/[0-9a-f]{32}/g, (hash) => hash.slice(0, 4))}`);
}

function isSamePlace(a: Entry, b: Entry): boolean {
  return a.runId === b.runId && a.attempt === b.attempt && a.address === b.address;
}

/** R4: only the holder's word counts. */
function authorship({ world, mirror }: Circumstances, entry: Entry, holders: Holders): void {
  if (entry.worker === undefined || entry.attempt === 0) return;
  const holder = holders.of(entry.runId, entry.fence);
  const row = mirror.runs.get(entry.runId);
  if (holder?.worker !== entry.worker) {
    const by = `${entry.worker}, and ${holder?.worker} holds it under fence ${entry.fence}`;
    world.violate("R4", `${entry.address} of ${world.names.of(entry.runId)} was recorded by ${by}`);
  }
  if (row !== undefined && isOver(row)) {
    world.violate("R2", `${world.names.of(entry.runId)} has ended, and ${entry.address} is recorded`);
  }
}

/** Promise 4: a deadline is fixed once, stays, and is never early. */
class Waits {
  readonly #around: Circumstances;
  /** The deadline of every wait that ever was, by run, attempt and address. */
  readonly #until = new Map<string, number | null>();

  constructor(around: Circumstances) {
    this.#around = around;
  }

  judge({ before, after }: RowChange, { entries }: Commit): void {
    const { world } = this.#around;
    const name = world.names.of(after.id);
    const isSameAttempt = before?.attempt === after.attempt;
    for (const wait of after.waits) {
      const key = `${after.id} ${after.attempt} ${wait.address}`;
      const first = this.#until.get(key);
      if (first === undefined) {
        this.#until.set(key, wait.until);
        this.#checkFirst(name, wait, after.updatedAt - maxDecisionAgeMs);
      } else if (first !== wait.until) {
        world.violate("P4", `The deadline of ${wait.address} of ${name} moved from ${first} to ${wait.until}`);
      }
    }
    if (before !== null && !isSameAttempt && after.waits.length > 0) {
      world.violate("P4", `${name} begins attempt ${after.attempt} with waits of the one before`);
    }
    if (!isSameAttempt || isOver(after)) return;
    for (const { address } of before?.waits ?? []) {
      const isOpen = after.waits.some((wait) => wait.address === address);
      const isAnswered = entries.some((entry) => entry.runId === after.id && endsWait(entry.address, address));
      if (!isOpen && !isAnswered) world.violate("P7", `${name} no longer waits at ${address}, and nothing is recorded`);
    }
  }

  elapsed({ runId, attempt, address, value, at }: Entry, { entries }: Commit): void {
    if (value.type !== "elapsed" || attempt === 0) return;
    const { world } = this.#around;
    const until = this.#until.get(`${runId} ${attempt} ${address}`);
    const name = world.names.of(runId);
    if (value.early === true) {
      const isAsked = entries.some((entry) => entry.runId === runId && entry.value.type === "marked");
      if (!isAsked) world.violate("P4", `${address} of ${name} was ended early, and nobody asked for it`);
    } else if (until === null || (until !== undefined && until > at)) {
      world.violate("P4", `${address} of ${name} elapsed at ${at}, before ${until}`);
    }
  }

  /** `openedAt`: or a little later. */
  #checkFirst(name: string, { address, until }: Wait, openedAt: number): void {
    const { world } = this.#around;
    if (until !== null && until <= openedAt)
      world.violate("P4", `${address} of ${name} was opened with a deadline that has passed`);
  }
}

/** A wait is answered at its own address, a timed wait for a child also by the child's end; or it is given up. */
function endsWait(address: string, wait: string): boolean {
  return (
    address === wait ||
    address === withdrawnAddress(wait) ||
    (address.endsWith("/result") && wait.startsWith(`${address.slice(0, -"/result".length)}/`))
  );
}

/** The wait that took an arrival. */
type ArrivalHolder = Pick<Entry, "attempt" | "address">;

/** Arrivals of one name of one run. */
interface Taking {
  arrived: number;
  /** Which wait holds which arrival. */
  holders: Map<number, ArrivalHolder>;
}

/** Promise 3, as counts: what arrived, and which wait took which of it. */
class Events {
  readonly #around: Circumstances;
  readonly #counts = new Map<string, Taking>();
  readonly #givenUp = new Set<string>();

  constructor(around: Circumstances) {
    this.#around = around;
  }

  note({ runId, attempt, address, value }: Entry): void {
    const { world } = this.#around;
    if (value.type === "arrived") {
      this.#of(runId, value.name).arrived += 1;
    } else if (value.type === "withdrawn") {
      this.#givenUp.add(`${runId} ${attempt} ${address}`);
    } else if (value.type === "received") {
      const { arrived, holders } = this.#of(runId, value.name);
      const before = holders.get(value.nth);
      const run = world.names.of(runId);
      if (before !== undefined && !this.#isGivenUp(runId, before)) {
        world.violate(
          "P3",
          `Arrival ${value.nth} of ${value.name} of ${run} was taken by ${before.address} and ${address}`,
        );
      }
      holders.set(value.nth, { attempt, address });
      if (value.nth >= arrived) world.violate("P3", `${address} of ${run} took what has not arrived`);
    }
  }

  judge({ after }: RowChange): void {
    const { world } = this.#around;
    for (const [name, arrivals] of after.events) {
      const { arrived, holders } = this.#of(after.id, name);
      const taken = [...holders.values()].filter((wait) => !this.#isGivenUp(after.id, wait)).length;
      const said = arrivals.arrived - unboundOf(arrivals);
      if (arrived !== arrivals.arrived || taken !== said) {
        const run = world.names.of(after.id);
        const is = `${taken} of ${arrived}`;
        world.violate("P3", `${run} says that ${said} of ${arrivals.arrived} ${name} are taken; ${is} are`);
      }
    }
  }

  #isGivenUp(runId: RunId, { attempt, address }: ArrivalHolder): boolean {
    return this.#givenUp.has(`${runId} ${attempt} ${withdrawnAddress(address)}`);
  }

  #of(runId: RunId, name: string): Taking {
    const key = `${runId} ${name}`;
    const counts = this.#counts.get(key) ?? { arrived: 0, holders: new Map() };
    this.#counts.set(key, counts);
    return counts;
  }
}
