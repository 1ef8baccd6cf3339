/**
 * The runs that one transaction touches: their rows as they were loaded, the decisions made about them, and the entries
 * and effects that follow from these. It contains no rules of its own.
 */

import type { RunId } from "@aikirun/lib/protocol";
import { decide } from "../core/decide.ts";
import { entryKeysOf, keyText, needsReading, withKnown } from "../core/entry-keys.ts";
import type { Accepted, Command, Decision, DecisionContext, Effect, NewFact, Run } from "../core/run.ts";
import { isLoaded, isUnreadEnd } from "../core/unread.ts";
import { complete, fitting, type Loaded } from "../storage/heavy.ts";
import type { Change, Transaction } from "../storage/storage.ts";
import { saveEnds } from "./ends.ts";
import { holders } from "./holders.ts";
import type { RowCache } from "./rows.ts";
import { type TakenNames, takenNames } from "./taken.ts";
import { withInput, withValues } from "./whole.ts";

/** What one transaction makes of a run. `before` is null if it inserts the run. */
export interface Transition {
  before: Run | null;
  after: Run;
}

export interface UnitOfWorkOptions {
  transaction: Transaction;
  moment: DecisionContext;
  rows: RowCache;
  /**
   * Runs that another transaction had changed when an earlier try wrote them. Their rows are loaded, and the entries
   * that their commands depend on.
   */
  stale: ReadonlySet<RunId>;
}

/** Thrown to roll the transaction back; its batch is decided again (R8) with these runs loaded. */
export class RunsChanged extends Error {
  readonly runs: RunId[];

  constructor(runs: RunId[]) {
    super(`Runs were changed by another transaction: ${runs.join(", ")}`);
    this.runs = runs;
  }
}

export class UnitOfWork {
  readonly #transaction: Transaction;
  readonly #moment: DecisionContext;
  readonly #rows: RowCache;
  readonly #stale: ReadonlySet<RunId>;
  /** The rows as loaded or cached, before any decision. */
  readonly #before = new Map<RunId, Run>();
  /** The rows as they were before the transaction; null for runs that it has inserted. */
  readonly #original = new Map<RunId, Run | null>();
  /** The rows after all decisions so far. */
  readonly #current = new Map<RunId, Run>();
  /** Runs loaded in this transaction. Their rows are not stale, so a refusal based on one is not decided again. */
  readonly #loaded = new Set<RunId>();
  /** Runs that no other transaction can change before this one ends: they are written or locked. */
  readonly #held = new Set<RunId>();
  #isHolding = false;
  /** Decided entries that are not saved yet. */
  readonly #recorded = new Map<RunId, NewFact[]>();
  #effects: Effect[] = [];
  readonly #queued: Run[] = [];
  /** Ids and references that runs already have, so that children cannot get them. */
  readonly #names: TakenNames = takenNames();
  readonly #withHolder: ReturnType<typeof holders>;

  constructor({ transaction, moment, rows, stale }: UnitOfWorkOptions) {
    this.#transaction = transaction;
    this.#moment = moment;
    this.#rows = rows;
    this.#stale = stale;
    this.#withHolder = holders(transaction, moment);
  }

  /**
   * Gets the rows of these runs from the cache, or loads them if they are stale or not cached. Throws `RowsLeft` if
   * storage loaded only some of them.
   */
  async fetch(ids: Iterable<RunId>): Promise<void> {
    const missing = new Set<RunId>();
    for (const id of ids) {
      if (this.#current.has(id)) continue;
      const cached = this.#stale.has(id) ? undefined : this.#rows.get(id, this.#transaction.fenceFloor());
      if (cached === undefined) missing.add(id);
      else this.#seeStored(cached, false);
    }
    if (missing.size > 0) complete(await this.#view(this.#transaction.load([...missing])));
  }

  /** Loads the runs whose row is cached and will not be checked by a write, as it may be stale. Throws like `fetch`. */
  async refresh(ids: RunId[]): Promise<void> {
    const unproven = ids.filter((id) => {
      const run = this.#current.get(id);
      return run !== undefined && this.#isUnproven(run);
    });
    if (unproven.length > 0) complete(await this.#view(this.#transaction.load(unproven)));
  }

  /** Gets the rows of runs to which effects send commands: like `fetch`, but after `hold` it locks them as well. */
  async reach(ids: RunId[]): Promise<void> {
    if (!this.#isHolding) return this.fetch(ids);
    const others = [...new Set(ids)].filter((id) => !this.#held.has(id));
    if (others.length === 0) return;
    const taken = await this.#view(this.#transaction.hold(others));
    if (taken.runs.length + taken.left.length < others.length) throw new RunsChanged(others);
    for (const { id } of taken.runs) this.#held.add(id);
    complete(taken);
  }

  /**
   * Storage has locked these rows. From now on the transaction must not wait for a lock, because others may wait for
   * these rows: if it needs a further row that another transaction has locked, `reach` throws `RunsChanged`.
   */
  hold(ids: RunId[]): void {
    this.#isHolding = true;
    for (const id of ids) this.#held.add(id);
  }

  /** Adds a row that this transaction has just written. */
  adopt(run: Run): void {
    if (!this.#original.has(run.id)) this.#original.set(run.id, null);
    this.#see(run, true);
    this.#held.add(run.id);
  }

  /**
   * Looks up which runs have the ids and references of the children that these commands of stale runs start. Throws
   * `RowsLeft` if there are several commands whose rows are too large together.
   */
  async loadTaken(commands: ReadonlyArray<{ to: RunId; command: Command }>): Promise<void> {
    for (const { to, command } of commands) {
      const run = this.#current.get(to);
      if (run !== undefined && this.#stale.has(to) && command.type === "report") {
        this.#names.want(run.namespace, command.report.starts);
      }
    }
    await this.#names.load(this.#transaction, commands.length === 1);
  }

  get(id: RunId): Run | undefined {
    return this.#current.get(id);
  }

  /** The run's last `seq` in storage, without the entries of `recorded`. */
  tailBefore(id: RunId): number {
    return this.#before.get(id)?.tail ?? 0;
  }

  /** Entries of the run that are decided but not saved yet. */
  recorded(id: RunId): readonly NewFact[] {
    return this.#recorded.get(id) ?? [];
  }

  /** Decides one command and keeps the decision. Returns a promise only if something must be read first. */
  apply(to: RunId, command: Command): Promise<Decision | null> | Decision | null {
    const run = this.#current.get(to);
    if (run === undefined) return null;
    return this.#stale.has(to) || needsReading(run, command, this.#moment.now)
      ? this.#informed(run, command).then((informed) => this.#applyTo(run, command, informed))
      : this.#applyTo(run, command, command);
  }

  /** The effects of all decisions since the last call, for the caller to carry out. */
  takeEffects(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** The run has become queued. */
  addQueued(run: Run): void {
    this.#queued.push(run);
  }

  /** Writes all rows that changed and all entries. */
  async save(): Promise<void> {
    const written = this.#written();
    if (written.length === 0) return;
    const isChange = ({ before, after }: Change) => after.revision !== before.revision;
    const facts = [...this.#recorded.values()].flat();
    const obstacles = await this.#transaction.save({
      changes: written.filter(isChange),
      holds: written.filter((row) => !isChange(row)).map(({ before: { id, revision } }) => ({ id, revision })),
      entries: facts.filter(isLoaded),
    });
    obstacles.push(...(await saveEnds(this.#transaction, facts.filter(isUnreadEnd))));
    if (obstacles.length > 0) throw new RunsChanged(obstacles.map(({ runId }) => runId));
    this.#recorded.clear();
    for (const { after } of written) this.adopt(after);
  }

  /** The rows as they are now, and those of them that have become queued. */
  outcome(): { changed: Run[]; queued: Run[] } {
    const isChanged = (run: Run) => run !== this.#before.get(run.id) || this.#loaded.has(run.id);
    return {
      changed: [...this.#current.values()].filter(isChanged),
      queued: this.#queued.map((run) => this.#current.get(run.id) ?? run),
    };
  }

  /** The runs whose rows this transaction inserted or changed. */
  transitions(): Transition[] {
    const transitions: Transition[] = [];
    for (const [id, before] of this.#original) {
      const after = this.#current.get(id);
      if (after !== undefined && after.revision !== before?.revision) transitions.push({ before, after });
    }
    return transitions;
  }

  #seeStored(run: Run, isLoaded: boolean): void {
    this.#original.set(run.id, run);
    this.#see(run, isLoaded);
  }

  #see(run: Run, isLoaded: boolean): void {
    this.#before.set(run.id, run);
    this.#current.set(run.id, run);
    if (isLoaded) this.#loaded.add(run.id);
  }

  async #view(loading: Promise<Run[]>): Promise<Loaded> {
    const loaded = await fitting(loading);
    for (const run of loaded.runs) this.#seeStored(run, true);
    return loaded;
  }

  /** Whether the row is cached and nothing was decided that changes it, so that no write checks whether it is stale. */
  #isUnproven(run: Run): boolean {
    return !this.#loaded.has(run.id) && this.#before.get(run.id) === run;
  }

  #applyTo(run: Run, command: Command, informed: Command): Promise<Decision> | Decision {
    const decision = decide(run, this.#withTaken(run, informed), this.#moment);
    return this.#mustDecideAgain(decision, run, command)
      ? this.#decideAgain(run, command).then((again) => this.#keep(again))
      : this.#keep(decision);
  }

  async #decideAgain(run: Run, command: Command): Promise<Decision> {
    await this.refresh([run.id]);
    const loaded = this.#current.get(run.id) ?? run;
    return decide(loaded, this.#withTaken(loaded, await this.#informed(loaded, command)), this.#moment);
  }

  /** Whether it accepts because of a cached row that no write checks, or refuses without having read the entries. */
  #mustDecideAgain(decision: Decision, run: Run, command: Command): boolean {
    const isUnproven = this.#isUnproven(run);
    // mutant: refusal-proven
    return decision.ok ? isUnproven && changesNothing(decision, run) : isUnproven || isFromCaller(command);
  }

  #keep(decision: Decision): Decision {
    if (!decision.ok) return decision;
    const { run, entries, effects } = decision;
    this.#current.set(run.id, run);
    if (entries.length > 0) this.#recorded.set(run.id, [...this.recorded(run.id), ...entries]);
    this.#effects.push(...effects);
    for (const effect of effects) {
      if (effect.type === "start") this.#names.add(effect.run);
    }
    return decision;
  }

  /** The command with what its decision depends on besides the row: entries, or whether a worker is alive. */
  async #informed(run: Run, command: Command): Promise<Command> {
    if (command.type === "tick") return this.#withHolder(run, command);
    const keys = entryKeysOf(run, command);
    if (keys.length === 0) return command;
    const wanted = new Set(keys.map(keyText));
    const unsaved = this.recorded(run.id).filter((entry) => wanted.has(keyText(entry)));
    const saved = await withValues(this.#transaction, command, await this.#transaction.entriesAt(keys));
    return withKnown(await withInput(this.#transaction, run, command), [...saved, ...unsaved]);
  }

  #withTaken(run: Run, command: Command): Command {
    if (command.type !== "report" || command.report.starts.length === 0) return command;
    return { ...command, taken: this.#names.of(run.namespace, command.report.starts) };
  }

  /** Rows that changed, and rows that must be held because only their journal did. */
  #written(): Change[] {
    const rows = [...this.#before.values()].map((before) => ({ before, after: this.get(before.id) ?? before }));
    const written = rows.filter(
      ({ before, after }) => after.revision !== before.revision || after.tail !== before.tail,
    );
    // Locks in id order, in every transaction: two of them never wait for one another.
    return written.sort((a, b) => (a.after.id < b.after.id ? -1 : 1));
  }
}

/** Whether the decision changes nothing, so that no write checks whether the row was stale. */
function changesNothing({ run, entries, effects }: Accepted, before: Run): boolean {
  return run.revision === before.revision && entries.length === 0 && effects.length === 0;
}

/** Whether a caller receives a refusal of this command. The engine itself ignores refusals of its own commands. */
function isFromCaller({ type }: Command): boolean {
  return type !== "tick" && type !== "claim" && type !== "orphan" && type !== "childless";
}
