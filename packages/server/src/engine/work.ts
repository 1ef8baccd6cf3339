/**
 * One transaction's view of the runs it touches: loads each once, decides commands one after the other, carries what
 * they send to other runs in waves, and saves everything at the end. It contains no rules of its own.
 */

import type { RunId } from "@aikirun/lib/protocol";
import { decide } from "../core/decide.ts";
import type { Command, Decision, DecisionContext, Effect, NewFact, Run } from "../core/run.ts";
import { isLoaded, isUnreadEnd } from "../core/unread.ts";
import { complete, fits, fitting } from "../storage/heavy.ts";
import type { Transaction } from "../storage/storage.ts";
import { saveEnds } from "./ends.ts";
import { holders } from "./holders.ts";
import { isBehind, keysOf, keyText, withKnown } from "./known.ts";
import type { Rows } from "./rows.ts";
import { takenNames } from "./taken.ts";
import { withInput, withValues } from "./whole.ts";

/** Children cancelled in one transaction; the parent stays due until none is left. */
const childrenAtOnce = 500;

export interface Work {
  /**
   * Brings the rows that these commands read into view: from the cache where that is allowed, else from storage. Throws
   * `RowsLeft` when storage loaded some and left others.
   */
  fetch(ids: Iterable<RunId>): Promise<void>;
  /**
   * Looks up what stands in the way of the children that these start, of runs where something has before. Throws
   * `RowsLeft` where several of them are too much at once.
   */
  survey(commands: ReadonlyArray<{ to: RunId; command: Command }>): Promise<void>;
  /** Loads those whose cached row nothing has proven yet. Throws like `fetch`. */
  refresh(ids: RunId[]): Promise<void>;
  get(id: RunId): Run | undefined;
  /** The run's last `seq` before this transaction. */
  tailBefore(id: RunId): number;
  /** What this transaction has decided to record of the run so far; storage has it at the end. */
  recorded(id: RunId): readonly NewFact[];
  /** Puts a run in view that storage has just inserted. */
  adopt(run: Run): void;
  /**
   * Storage holds these for this transaction. It waits for no lock any more, since others may wait for what it holds: a
   * run that it needs besides, and that somebody else holds, obstructs it.
   */
  hold(ids: RunId[]): void;
  /** Decides one command and keeps what it changes. A promise only where something must be read first. */
  apply(to: RunId, command: Command): Promise<Decision | null> | Decision | null;
  /** Carries out everything that was decided so far: the transaction's other runs, then one save. */
  settle(): Promise<void>;
  /** Runs as they are now, and which of them became queued. */
  outcome(): { changed: Run[]; queued: Run[] };
}

export interface WorkOptions {
  transaction: Transaction;
  moment: DecisionContext;
  rows: Rows;
  /** Runs whose cached row was found stale, or whose command met an entry: these are loaded, with what is recorded. */
  suspects: Set<RunId>;
}

/** Thrown to roll back; the batch is decided again (R8) with these runs loaded afresh. */
export class Obstructed extends Error {
  readonly runs: RunId[];
  constructor(runs: RunId[]) {
    super(`Runs moved on meanwhile: ${runs.join(", ")}`);
    this.runs = runs;
  }
}

export function openWork({ transaction, moment, rows, suspects }: WorkOptions): Work {
  const before = new Map<RunId, Run>();
  const current = new Map<RunId, Run>();
  /** Loaded in this transaction, hence true: a refusal of theirs needs no second look. */
  const loaded = new Set<RunId>();
  /** Nobody else can change these before the end: they are written, or storage holds them. */
  const held = new Set<RunId>();
  let isHolding = false;
  const recorded = new Map<RunId, NewFact[]>();
  const queued: Run[] = [];
  const names = takenNames();
  const withHolder = holders(transaction, moment);
  let effects: Effect[] = [];

  const see = (run: Run, isLoaded: boolean) => {
    before.set(run.id, run);
    current.set(run.id, run);
    if (isLoaded) {
      loaded.add(run.id);
    }
  };
  const view = async (loading: Promise<Run[]>) => {
    const loaded = await fitting(loading);
    for (const run of loaded.runs) see(run, true);
    return loaded;
  };

  const fetch = async (ids: Iterable<RunId>) => {
    const missing = new Set<RunId>();
    for (const id of ids) {
      if (current.has(id)) {
        continue;
      }
      const cached = suspects.has(id) ? undefined : rows.get(id, transaction.fenceFloor());
      if (cached === undefined) {
        missing.add(id);
      } else {
        see(cached, false);
      }
    }
    if (missing.size > 0) {
      complete(await view(transaction.load([...missing])));
    }
  };

  /** Brings the runs of the next wave into view. */
  const reach = async (ids: RunId[]) => {
    if (!isHolding) return fetch(ids);
    const others = [...new Set(ids)].filter((id) => !held.has(id));
    const taken = await view(others.length === 0 ? Promise.resolve([]) : transaction.hold(others));
    if (taken.runs.length + taken.left.length < others.length) {
      throw new Obstructed(others);
    }
    for (const { id } of taken.runs) held.add(id);
    complete(taken);
  };

  /** The row is a cached one that nothing was decided upon yet, so that no write will prove it. */
  const isUnproven = (run: Run) => !loaded.has(run.id) && before.get(run.id) === run;

  const refresh = async (ids: RunId[]) => {
    const unproven = ids.filter((id) => {
      const run = current.get(id);
      return run !== undefined && isUnproven(run);
    });
    if (unproven.length > 0) {
      complete(await view(transaction.load(unproven)));
    }
  };

  const informed = async (run: Run, command: Command): Promise<Command> => {
    if (command.type === "tick") {
      return withHolder(run, command);
    }
    const keys = keysOf(run, command);
    if (keys.length === 0) {
      return command;
    }
    const wanted = new Set(keys.map(keyText));
    const here = (recorded.get(run.id) ?? []).filter((entry) => wanted.has(keyText(entry)));
    const there = await withValues(transaction, command, await transaction.entriesAt(keys));
    return withKnown(await withInput(transaction, run, command), [...there, ...here]);
  };

  const withTaken = (run: Run, command: Command): Command =>
    command.type === "report" && command.report.starts.length > 0
      ? { ...command, taken: names.of(run.namespace, command.report.starts) }
      : command;

  const decideAgain = async (run: Run, command: Command): Promise<Decision> => {
    await refresh([run.id]);
    const known = current.get(run.id) ?? run;
    return decide(known, withTaken(known, await informed(known, command)), moment);
  };

  /** Only acceptances that a write proves may rest on a cached row, and no refusal on not knowing what is recorded. */
  const isDoubtful = (decision: Decision, run: Run, command: Command) =>
    // mutant: refusal-proven
    decision.ok ? isUnproven(run) && isIdle(decision, run) : isUnproven(run) || isAnswered(command);

  const accepted = (decision: Decision): Decision => {
    if (decision.ok) {
      accept(decision);
    }
    return decision;
  };

  const accept = (decision: Extract<Decision, { ok: true }>) => {
    const { id } = decision.run;
    current.set(id, decision.run);
    if (decision.entries.length > 0) {
      const list = recorded.get(id) ?? [];
      list.push(...decision.entries);
      recorded.set(id, list);
    }
    for (const effect of decision.effects) {
      effects.push(effect);
      if (effect.type === "start") {
        names.add(effect.run);
      }
    }
  };

  const applyTo = (run: Run, command: Command, asked: Command): Promise<Decision> | Decision => {
    const decision = decide(run, withTaken(run, asked), moment);
    if (isDoubtful(decision, run, command)) {
      return decideAgain(run, command).then(accepted);
    }
    return accepted(decision);
  };

  const apply: Work["apply"] = (to, command) => {
    const run = current.get(to);
    if (run === undefined) {
      return null;
    }
    const isKnown = !suspects.has(to) && !isBehind(run, command, moment.now);
    return isKnown
      ? applyTo(run, command, command)
      : informed(run, command).then((asked) => applyTo(run, command, asked));
  };

  /** Turns one wave's effects into the next wave, at one statement per kind of effect. */
  const nextWave = async (): Promise<Array<{ to: RunId; command: Command }>> => {
    const wave: Array<{ to: RunId; command: Command }> = [];
    const now = effects;
    effects = [];
    const parents: RunId[] = [];
    const starts: Array<Extract<Effect, { type: "start" }>> = [];
    for (const effect of now) {
      switch (effect.type) {
        case "send":
          wave.push(effect);
          break;
        case "start":
          starts.push(effect);
          break;
        case "cancelChildren":
          parents.push(effect.of);
          break;
        case "deliver":
          queued.push(effect.run);
          break;
        default:
          effect satisfies never;
      }
    }
    await begin(starts);
    wave.push(...(await disown(parents)));
    return wave;
  };

  const begin = async (starts: Array<Extract<Effect, { type: "start" }>>) => {
    if (starts.length === 0) {
      return;
    }
    // What is recalled must be there, though this very transaction recorded it.
    // mutant: start-recorded
    if (starts.some(({ recall }) => recall !== null && recorded.has(recall))) {
      await save();
    }
    const inserted = new Set(await transaction.insert(starts.map(({ run }) => run)));
    const obstructed = starts.flatMap(({ run }) => (inserted.has(run.id) ? [] : (run.parent?.id ?? [])));
    if (obstructed.length > 0) {
      // The parent's change recorded that this child begins: decide it again, now that the conflict is known.
      throw new Obstructed(obstructed);
    }
    for (const { run, recall } of starts) {
      if (inserted.has(run.id)) {
        const tail = recall === null ? 0 : await transaction.recall(recall, run.id);
        see({ ...run, tail }, true);
        held.add(run.id);
        queued.push(run);
      }
    }
  };

  const disown = async (parents: RunId[]) => {
    if (parents.length === 0) {
      return [];
    }
    const children = await transaction.children(parents, childrenAtOnce); // mutant: children-of-ended
    const isAll = (await fits(reach(children))) && children.length < childrenAtOnce;
    const wave: Array<{ to: RunId; command: Command }> = children.map((to) => ({ to, command: { type: "orphan" } }));
    if (isAll) {
      wave.push(...parents.map((to) => ({ to, command: { type: "childless" } as const })));
    }
    return wave;
  };

  const save = async () => {
    const changes: Array<{ before: Run; after: Run }> = [];
    const holds: Array<{ id: RunId; revision: number }> = [];
    for (const [id, was] of before) {
      const run = current.get(id) ?? was;
      if (run.revision !== was.revision) {
        changes.push({ before: was, after: run });
      } else if (run.tail !== was.tail) {
        holds.push({ id, revision: was.revision });
      }
    }
    if (changes.length + holds.length === 0) {
      return;
    }
    // Locks in id order, in every transaction: two of them never wait for one another.
    changes.sort((a, b) => (a.after.id < b.after.id ? -1 : 1));
    holds.sort((a, b) => (a.id < b.id ? -1 : 1));
    const facts = [...recorded.values()].flat();
    const obstacles = [
      ...(await transaction.save({ changes, holds, entries: facts.filter(isLoaded) })),
      ...(await saveEnds(transaction, facts.filter(isUnreadEnd))),
    ];
    if (obstacles.length > 0) {
      throw new Obstructed(obstacles.map(({ runId }) => runId));
    }
    recorded.clear();
    for (const id of [...changes.map(({ after }) => after.id), ...holds.map((hold) => hold.id)]) {
      held.add(id);
      const run = current.get(id);
      if (run !== undefined) {
        see(run, true);
      }
    }
  };

  const survey: Work["survey"] = async (commands) => {
    for (const { to, command } of commands) {
      const run = current.get(to);
      if (run !== undefined && suspects.has(to) && command.type === "report") {
        names.want(run.namespace, command.report.starts);
      }
    }
    await names.load(transaction, commands.length === 1);
  };

  return {
    fetch,
    survey,
    refresh,
    apply,
    get: (id) => current.get(id),
    tailBefore: (id) => before.get(id)?.tail ?? 0,
    recorded: (id) => recorded.get(id) ?? [],
    adopt(run) {
      see(run, true);
      held.add(run.id);
    },
    hold(ids) {
      isHolding = true;
      for (const id of ids) {
        held.add(id);
      }
    },
    async settle() {
      while (effects.length > 0) {
        const wave = await nextWave();
        await reach(wave.filter(({ command }) => command.type !== "orphan").map(({ to }) => to));
        for (const { to, command } of wave) {
          await apply(to, command);
        }
      }
      await save();
    },
    outcome: () => ({
      changed: [...current.values()].filter((run) => run !== before.get(run.id) || loaded.has(run.id)),
      queued: queued.map((run) => current.get(run.id) ?? run),
    }),
  };
}

/** It changes nothing at all: no compare-and-swap will tell whether the row it rests on was true. */
function isIdle(decision: Extract<Decision, { ok: true }>, run: Run): boolean {
  return decision.run.revision === run.revision && decision.entries.length === 0 && decision.effects.length === 0;
}

/** Whether somebody is told why it was refused. What the engine itself sends may come to nothing. */
function isAnswered({ type }: Command): boolean {
  return type !== "tick" && type !== "claim" && type !== "orphan" && type !== "childless";
}
