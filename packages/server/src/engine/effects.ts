/** Carries out the effects of decisions, inside their transaction. */

import type { RunId } from "@aikirun/lib/protocol";
import type { Effect } from "../core/run.ts";
import { fits } from "../storage/heavy.ts";
import type { Transaction } from "../storage/storage.ts";
import { RunsChanged, type UnitOfWork } from "./unit-of-work.ts";

type StartEffect = Extract<Effect, { type: "start" }>;
/** A command for another run. */
type SendEffect = Extract<Effect, { type: "send" }>;

/** How many children one transaction cancels. If there are more, the parent stays due, and its next tick continues. */
const childrenAtOnce = 500;

/**
 * Carries out the effects of everything that was decided so far. The commands among them are decided in turn, which may
 * have effects again, and so on. Then saves everything.
 */
export async function settle(transaction: Transaction, work: UnitOfWork): Promise<void> {
  for (let effects = work.takeEffects(); effects.length > 0; effects = work.takeEffects()) {
    const sends = await carryOut(transaction, work, effects);
    // `cancelChildren` has reached the orphans that fit into this transaction; the others are cancelled by a later one.
    await work.reach(sends.filter(({ command }) => command.type !== "orphan").map(({ to }) => to));
    for (const { to, command } of sends) await work.apply(to, command);
  }
  await work.save();
}

/** Carries these out with one statement for each kind, and returns the commands for other runs. */
async function carryOut(transaction: Transaction, work: UnitOfWork, effects: readonly Effect[]): Promise<SendEffect[]> {
  const sends: SendEffect[] = [];
  const starts: StartEffect[] = [];
  const parents: RunId[] = [];
  for (const effect of effects) {
    switch (effect.type) {
      case "send":
        sends.push(effect);
        break;
      case "start":
        starts.push(effect);
        break;
      case "cancelChildren":
        parents.push(effect.of);
        break;
      case "deliver":
        work.addQueued(effect.run);
        break;
      default:
        effect satisfies never;
    }
  }
  if (starts.length > 0) await startRuns(transaction, work, starts);
  return parents.length > 0 ? [...sends, ...(await cancelChildren(transaction, work, parents))] : sends;
}

async function startRuns(transaction: Transaction, work: UnitOfWork, starts: readonly StartEffect[]): Promise<void> {
  // A started run reuses entries from storage: those of this transaction must be there first.
  // mutant: start-recorded
  if (starts.some(({ reuse }) => reuse !== null && work.recorded(reuse).length > 0)) {
    await work.save();
  }
  const inserted = new Set(await transaction.insert(starts.map(({ run }) => run)));
  const conflicts = starts.flatMap(({ run }) => (inserted.has(run.id) ? [] : (run.parent?.id ?? [])));
  // The parent's change recorded that this child begins: it is decided again, now that the conflict is known.
  if (conflicts.length > 0) throw new RunsChanged(conflicts);
  for (const { run, reuse } of starts) {
    if (!inserted.has(run.id)) continue;
    const tail = reuse === null ? 0 : await transaction.reuse(reuse, run.id);
    work.adopt({ ...run, tail });
    work.addQueued(run);
  }
}

/** Commands that cancel the live children of these parents. If these are all, the parents get `childless`. */
async function cancelChildren(transaction: Transaction, work: UnitOfWork, parents: RunId[]): Promise<SendEffect[]> {
  const children = await transaction.children(parents, childrenAtOnce); // mutant: children-of-ended
  const isAll = (await fits(work.reach(children))) && children.length < childrenAtOnce;
  const send =
    (command: SendEffect["command"]) =>
    (to: RunId): SendEffect => ({ type: "send", to, command });
  return [...children.map(send({ type: "orphan" })), ...(isAll ? parents.map(send({ type: "childless" })) : [])];
}
