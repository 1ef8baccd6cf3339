/** Which runs may stall, and why. */

import type { Address, Stall } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import { wholeOf } from "../../packages/server/src/core/unread.ts";
import type { Circumstances } from "./circumstances.ts";
import type { SimulatedExecution } from "./execution.ts";
import type { Ledger } from "./ledger.ts";
import type { RowChange } from "./mirror.ts";
import type { Program } from "./program.ts";
import { isPlain, orderOf } from "./timing.ts";

/** A run stalled because of its code: why, and what kind of program it executes. */
export interface Stalled {
  reason: Stall["reason"];
  order: string;
}

export class Stalls {
  readonly #around: Circumstances;
  readonly all: Stalled[] = [];

  constructor(around: Circumstances) {
    this.#around = around;
  }

  judge({ before, after }: RowChange): void {
    const { state, input } = after;
    if (state.status !== "stalled" || before?.state.status === "stalled" || state.reason === "crash_loop") return;
    const { program }: { program: Program } = JSON.parse(wholeOf(input ?? "{}", after.id));
    this.all.push({ reason: state.reason, order: orderOf(program.ops) });
    switch (state.reason) {
      case "diverged":
        this.#diverged(after, state, program);
        return;
      case "ambiguous_call":
        this.#refused(after, state, program);
        return;
      case "schema_mismatch":
      case "idle":
        this.#violate(after, `stalled as ${state.reason}: ${JSON.stringify(state)}`);
        return;
      default:
        state satisfies never;
    }
  }

  /** Only code that changed diverges, or a race that plain work decides. */
  #diverged(run: Run, { call, unclaimed }: Extract<Stall, { reason: "diverged" }>, { ops }: Program): void {
    const { misfits, hasOtherCode, ledger } = this.#around;
    // What was refused is done again, which what is recorded after it may stand in the way of.
    if (ledger.wasRefused(run.id) || isRenamedSleep({ call, unclaimed })) return;
    const isOther = misfits.has(run.id) || (hasOtherCode() && isPlain(ops));
    // Plain work may give a lock to a call that is new, which then waits for one that waits for the lock.
    const isOpen = orderOf(ops) === "timed" || orderOf(ops) === "lock";
    if (isOther || isOpen || ledger.identity.isUnsettled(run.id, null)) return;
    this.#violate(run, `diverged at ${call}, though its code fits: ${unclaimed}`);
  }

  #refused(run: Run, { call }: Extract<Stall, { reason: "ambiguous_call" }>, program: Program): void {
    const { ledger } = this.#around;
    ledger.refuse(run.id, call);
    if (!mayBeRefused(ledger, run, program, call)) {
      this.#violate(run, `was refused at ${call}, though its calls can be distinguished`);
    }
  }

  #violate(run: Run, what: string): void {
    this.#around.world.violate("STALL", `${this.#around.world.names.of(run.id)} ${what}`);
  }
}

/** A sleep that got its name later is found only at the same time as before. */
export function isRenamedSleep({ call, unclaimed }: { call: Address; unclaimed: readonly Address[] }): boolean {
  return call.startsWith("sleep:") && unclaimed.some((address) => address.startsWith("sleep:#"));
}

/** Only calls that nothing tells apart are refused: keys do, which `run.map` has none of. */
export function mayBeRefused(ledger: Ledger, run: Run, { isKeyed, ops }: Program, call: Address): boolean {
  if (isKeyed && !call.startsWith("map:")) return false;
  const executions = ledger.executionsOf(run.id);
  const [kind = "", name = ""] = call.split(/[:#]/);
  // The name of a sleep is a key: it may be recorded without.
  const isMeant = (content: string) => content.startsWith(kind === "sleep" ? "sleep:" : `${kind}:${name}`);
  if (executions.some(({ points }) => [...points.clashes].some(isMeant))) return true;
  const all = ledger.identity.executionsOf(run.id);
  const isAlike = all.some(({ points }) => [...points.made.values()].filter(({ bare }) => isMeant(bare)).length > 1);
  // What an earlier attempt or unkeyed code recorded may fit several calls.
  const isLater = run.attempt > 1 || run.options.retryOf !== undefined || executions.some(({ code }) => code !== "");
  // And so may a call that plain work keeps from its drain: whether the branches of two calls have different names
  // depends on what else came from the same points.
  const isLate = all.some(({ points }) => [...points.made.values()].some((made) => made.isLate && isMeant(made.bare)));
  // A call that a later attempt did not find, because a lock was taken in another order, is recorded twice.
  if (isLater && orderOf(ops) === "lock" && ledger.redone > 0) return true;
  return isAlike && (isLater || isLate || (isPlain(ops) && differ(all, isMeant)));
}

/**
 * Whether two executions made other calls of this content after one value, in its drain: plain work that ends at once
 * in one of them may outlast the other, which then never makes the call behind it.
 */
function differ(executions: readonly SimulatedExecution[], isMeant: (content: string) => boolean): boolean {
  const callsByPoint = new Map<string, Set<string>>();
  for (const { points } of executions) {
    const calls = new Map<string, string[]>();
    for (const [path, { bare, from }] of points.made) {
      if (isMeant(bare)) calls.set(from, [...(calls.get(from) ?? []), path]);
    }
    for (const [from, paths] of calls) {
      callsByPoint.set(from, (callsByPoint.get(from) ?? new Set()).add(paths.sort().join(" ")));
    }
  }
  return [...callsByPoint.values()].some((variants) => variants.size > 1);
}
