/**
 * Whose value is whose. Every call of a program has a path that the engine does not know; what a body makes, an event,
 * a child or a time belongs to the path that it was made for, on every replay, attempt and retry.
 */

import type { Address, RunId } from "@aikirun/lib/protocol";
import type { SimulatedExecution } from "./execution.ts";
import type { Commit, Mirror } from "./mirror.ts";
import { nonceOf } from "./nonce.ts";
import { mayBeMistaken } from "./points.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** What the body of a task or step knows of its call. */
export interface Origin {
  kind: "task" | "step";
  /** Null where the inputs of several calls are equal, so that their bodies cannot know for which they work. */
  path: string | null;
  /** What stands in place of the path then. */
  name: string;
}

/** One start of the body of a task or step. */
export interface SimulatedEffect extends Origin {
  runId: RunId;
  key: string;
  /** Its call had a key. */
  isKeyed: boolean;
  address: Address;
  attempt: number;
  try: number;
  fence: number;
  process: Process;
  /** Made for this start alone. */
  nonce: string;
}

/** How a call's result was recorded. */
interface Done {
  type: "returned" | "threw";
  attempt: number;
}

/** The other timing of a call: late and not prompt, and after the result of the call before it and not beside it. */
function flipped(timing: string): string {
  return timing
    .split(" ")
    .map((value) => String(value !== "true"))
    .join(" ");
}

export class IdentityChecker {
  readonly #world: World;
  readonly #mirror: Mirror;
  readonly #makers = new Map<string, SimulatedEffect>();
  readonly #paths = new Map<string, string>();
  readonly #asked = new Map<string, number>();
  readonly #done = new Map<string, Done>();
  readonly #keys = new Map<string, string>();
  readonly #shuffled = new Set<RunId>();
  /** Runs with refused calls: these, and calls after them, are made again, and their events go to other waits. */
  readonly #refused = new Set<RunId>();
  readonly #mistaken = new Set<RunId>();
  readonly #executions: SimulatedExecution[] = [];
  /** How often a call was given what another one could claim as well. */
  mistakes = 0;

  constructor(world: World, mirror: Mirror) {
    this.#world = world;
    this.#mirror = mirror;
    mirror.onCommit((commit) => this.#record(commit));
  }

  maker(nonce: string): SimulatedEffect | undefined {
    return this.#makers.get(nonce);
  }

  /** From here on, alike calls of this run may have changed places. */
  shuffle(runId: RunId): void {
    this.#shuffled.add(this.family(runId));
  }

  refuse(runId: RunId): void {
    this.#refused.add(this.family(runId));
  }

  isShuffled(runId: RunId): boolean {
    return this.#shuffled.has(this.family(runId));
  }

  /** How a call's result is recorded in this run. */
  done(runId: RunId, path: string): Done | undefined {
    return this.#done.get(`${runId} ${path}`);
  }

  began(execution: SimulatedExecution): void {
    this.#executions.push(execution);
  }

  made(effect: SimulatedEffect): void {
    this.#makers.set(effect.nonce, effect);
  }

  /** The handler was given what a body made: it worked for this very call, in this run or in one that this retries. */
  belongs(execution: SimulatedExecution, { kind, path, name }: Origin & { path: string }, nonce: string): void {
    const maker = this.#makers.get(nonce);
    const isOwn = maker !== undefined && this.family(maker.runId) === this.family(execution.runId);
    if (!isOwn || maker.kind !== kind) {
      this.#violate(execution, `${path} was given ${nonce}, which no body of this run made`);
      return;
    }
    if (execution.isShuffled) return;
    const isMeant = maker.path === null ? maker.name === name : maker.path === path;
    if (maker.path === null && isMeant) this.bind(execution, kind, path, nonce);
    else if (!isMeant && (maker.isKeyed || !this.#mayBeMistaken(execution, path, maker.path))) {
      this.#violate(execution, `${path} was given ${nonce}, which is the value of another call`);
    }
  }

  /** What was given to one call is given to no other, nor anything else to that one. */
  bind(execution: SimulatedExecution, kind: string, path: string, value: string): void {
    if (execution.isShuffled || execution.order === "timed") return;
    if (kind.startsWith("event ") && this.#refused.has(this.family(execution.runId))) return;
    const key = `${this.family(execution.runId)} ${kind} ${value}`;
    const before = this.#paths.get(key) ?? path;
    this.#paths.set(key, before);
    if (before === path || this.isMistake(execution, path, before)) return;
    this.#violate(execution, `${path} was given ${value}, which ${before} had been given before`);
  }

  /** A timer was asked for. */
  asked({ runId }: SimulatedExecution, path: string): void {
    const key = `${this.family(runId)} ${path}`;
    if (!this.#asked.has(key)) this.#asked.set(key, this.#world.now);
  }

  /** A timer is over: not before its time. */
  elapsed(execution: SimulatedExecution, path: string, ms: number): void {
    const since = this.#asked.get(`${this.family(execution.runId)} ${path}`) ?? this.#world.now;
    const passed = this.#world.now - since;
    if (passed < ms && !execution.isShuffled && !this.isMistake(execution, path, null))
      this.#violate(execution, `${path} of ${ms} ms was over after ${passed} ms`);
  }

  /**
   * A body begins under a key: the same each time that its call follows a delivery, or plain work; and that of the try
   * before, however that came about.
   */
  keyed(effect: SimulatedEffect, execution: SimulatedExecution): void {
    const { runId, attempt, path, key, kind, try: nth } = effect;
    if (path === null || kind !== "step" || execution.isShuffled || execution.order === "timed") return;
    if (this.#refused.has(this.family(runId))) return;
    const call = `${runId} ${attempt} ${execution.code} ${path}`;
    const how = execution.points.made.get(path)?.isLate === true ? "late" : "prompt";
    const before = this.#keys.get(nth > 1 ? `${call} try ${nth - 1}` : `${call} ${how}`) ?? key;
    this.#keys.set(`${call} ${how}`, key);
    this.#keys.set(`${call} try ${nth}`, key);
    if (before !== key && !this.wasMistaken(runId))
      this.#violate(execution, `${path} began under the key ${key}, after ${before} before`);
  }

  /** Whether a call of this run, or of one that it retries, was given what another one could claim as well. */
  wasMistaken(runId: RunId): boolean {
    return this.#mistaken.has(this.family(runId));
  }

  /**
   * Whether the code came to one of two calls in the place of the other, because plain work took another time: before
   * it comes to both of them, nothing can notice. `other` is null where it may be any.
   */
  isMistake(execution: SimulatedExecution, path: string, other: string | null): boolean {
    const family = this.family(execution.runId);
    const executions = this.executionsOf(execution.runId);
    const paths = new Set(other === null ? executions.flatMap(({ points }) => [...points.made.keys()]) : [other]);
    paths.delete(path);
    // A key says which is which, unless what is recorded has none.
    const isTold = executions.every(({ isKeyed }) => isKeyed);
    const isMistake =
      !isTold &&
      executions.some(({ points: one }) =>
        executions.some(({ points: two }) => [...paths].some((rival) => mayBeMistaken(one, path, two, rival))),
      );
    if (isMistake) {
      this.#mistaken.add(family);
      this.mistakes += 1;
    }
    return isMistake;
  }

  /**
   * Or plain work alone decided a race: this call had no value before, and the other one is alike. Or plain work
   * decides from where the code comes to one of the two.
   */
  #mayBeMistaken(execution: SimulatedExecution, path: string, other: string | null): boolean {
    const { runId, order } = execution;
    if (order === "timed" && this.executionsOf(runId).every((one) => this.done(one.runId, path) === undefined)) {
      this.#mistaken.add(this.family(runId));
      this.mistakes += 1;
      return true;
    }
    if (this.isMistake(execution, path, other) || this.isUnsettled(runId, path)) return true;
    return other !== null && this.isUnsettled(runId, other);
  }

  /**
   * Whether the code comes to a call from one point and another time from another, because plain work decides which of
   * several lanes goes on with it: then a replay may not find it again. `path` is null where it may be any call; then a
   * cache, too, may keep a replay from finding a call that stands beside another one.
   */
  isUnsettled(runId: RunId, path: string | null): boolean {
    const from = new Map<string, string>();
    const late = new Map<string, boolean>();
    for (const { points } of this.executionsOf(runId)) {
      for (const [name, made] of points.made) {
        if (path !== null && name !== path) continue;
        const isSometimesLate = (late.get(name) ?? made.isLate) !== made.isLate;
        late.set(name, made.isLate);
        if (
          (from.get(name) ?? made.from) !== made.from ||
          (isSometimesLate && path === null && this.#world.hasCaches)
        ) {
          this.#mistaken.add(this.family(runId));
          this.mistakes += 1;
          return true;
        }
        from.set(name, made.from);
      }
    }
    return false;
  }

  /**
   * Whether the code came to a call after one result, and after another one another time, because plain work decides
   * which branch behind a limiter goes on first, or which one wins a race: then a later attempt may not find it again.
   * Nor may it where plain work decides whether the call comes beside the call before it, or after that one's result.
   */
  isReordered(runId: RunId): boolean {
    const known = new Map<string, string>();
    const timing = new Map<string, string>();
    for (const { hasPlain, points } of this.executionsOf(runId)) {
      for (const [path, { after, from, isLate }] of points.made) {
        const time = `${isLate} ${after === from}`;
        const before = timing.get(path) ?? time;
        timing.set(path, time);
        if (hasPlain && time === flipped(before)) return true;
        if (!hasPlain || isLate) continue;
        if ((known.get(path) ?? after) !== after) return true;
        known.set(path, after);
      }
    }
    return false;
  }

  /** Of this run, and of those that retry one another with it. */
  executionsOf(run: RunId): readonly SimulatedExecution[] {
    const family = this.family(run);
    return this.#executions.filter(({ runId }) => this.family(runId) === family);
  }

  /** The first of the runs that this one retries. */
  family(runId: RunId): RunId {
    const before = this.#mirror.runs.get(runId)?.options.retryOf;
    return before === undefined ? runId : this.family(before);
  }

  #record({ entries }: Commit): void {
    for (const entry of entries) {
      const nonce = nonceOf(entry);
      const path = nonce === null ? undefined : this.#makers.get(nonce)?.path;
      const { type } = entry.value;
      if (path === undefined || path === null || (type !== "returned" && type !== "threw")) continue;
      this.#done.set(`${entry.runId} ${path}`, { type, attempt: entry.attempt });
    }
  }

  #violate(execution: SimulatedExecution, what: string): void {
    const { runId, attempt } = execution;
    this.#world.violate("IDENTITY", `${this.#world.names.of(runId)}, attempt ${attempt}: ${what}`);
  }
}
