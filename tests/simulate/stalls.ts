/** The reasons for which a run may stall. */

import type { Address, Stall } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import { wholeOf } from "../../packages/server/src/core/unread.ts";
import type { SimulatedExecution } from "./execution.ts";
import type { Ledger } from "./ledger.ts";
import type { RowChange } from "./mirror.ts";
import type { Program } from "./program.ts";
import type { RuleContext } from "./rule-context.ts";
import { isPlain, orderOf } from "./timing.ts";

/** A run that stalled because of its code: the reason, and the kind of its program. */
export interface Stalled {
  reason: Stall["reason"];
  order: string;
}

export class Stalls {
  readonly #context: RuleContext;
  readonly all: Stalled[] = [];

  constructor(context: RuleContext) {
    this.#context = context;
  }

  check({ before, after }: RowChange): void {
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

  /** A run may diverge only if its code changed or if non-durable work decides a race. */
  #diverged(run: Run, { call, unclaimed }: Extract<Stall, { reason: "diverged" }>, { ops }: Program): void {
    const { incompatible: misfits, hasOtherCode, ledger } = this.#context;
    // A refused call is executed again, and entries that were recorded after it may not fit.
    if (ledger.wasRefused(run.id) || isRenamedSleep({ call, unclaimed })) return;
    const isOther = misfits.has(run.id) || (hasOtherCode() && isPlain(ops));
    // Non-durable work may give a lock to a new call. It waits for a recorded call, which waits for the lock.
    const isOpen = orderOf(ops) === "timed" || orderOf(ops) === "lock";
    if (isOther || isOpen || ledger.identity.isUnsettled(run.id, null)) return;
    this.#violate(run, `diverged at ${call} although its code fits: ${unclaimed}`);
  }

  #refused(run: Run, { call }: Extract<Stall, { reason: "ambiguous_call" }>, program: Program): void {
    const { ledger } = this.#context;
    ledger.refuse(run.id, call);
    if (!mayBeRefused(ledger, run, program, call)) {
      this.#violate(run, `was refused at ${call} although its calls can be distinguished`);
    }
  }

  #violate(run: Run, what: string): void {
    this.#context.world.violate("STALL", `${this.#context.world.names.of(run.id)} ${what}`);
  }
}

/** A sleep that has a new name is found only if it is made at the same point as before. */
export function isRenamedSleep({ call, unclaimed }: { call: Address; unclaimed: readonly Address[] }): boolean {
  return call.startsWith("sleep:") && unclaimed.some((address) => address.startsWith("sleep:#"));
}

/** Only calls that cannot be distinguished are refused. Calls with keys can be; `run.map` has no key. */
export function mayBeRefused(ledger: Ledger, run: Run, { isKeyed, ops }: Program, call: Address): boolean {
  if (isKeyed && !call.startsWith("map:")) return false;
  const executions = ledger.executionsOf(run.id);
  const [kind = "", name = ""] = call.split(/[:#]/);
  // The name of a sleep is a key. The sleep may have been recorded without it.
  const isMeant = (content: string) => content.startsWith(kind === "sleep" ? "sleep:" : `${kind}:${name}`);
  if (executions.some(({ points }) => [...points.clashes].some(isMeant))) return true;
  const all = ledger.identity.executionsOf(run.id);
  const isAlike = all.some(({ points }) => [...points.made.values()].filter(({ bare }) => isMeant(bare)).length > 1);
  // An entry of an earlier attempt, or of code without keys, may fit several calls.
  const isLater = run.attempt > 1 || run.options.retryOf !== undefined || executions.some(({ code }) => code !== "");
  // So may the entry of a call that non-durable work delays: whether two calls have different branches depends on the
  // other calls of the same points.
  const isLate = all.some(({ points }) => [...points.made.values()].some((made) => made.isLate && isMeant(made.bare)));
  // A call that a later attempt did not find, because a lock was taken in another order, is recorded twice.
  if (isLater && orderOf(ops) === "lock" && ledger.isRecordedTwice(run.id, call)) return true;
  return isAlike && (isLater || isLate || (isPlain(ops) && differ(all, isMeant)));
}

/**
 * Whether two executions made different calls of this content after one value: non-durable work that ended at once in
 * one of them may take longer in the other, which then does not make the next call.
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
