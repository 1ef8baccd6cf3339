/**
 * Checks that each call gets its own value. Every call of a program has a path that the engine does not know. A result
 * of a body, an event, a child or a time belongs to one path, and stays with it on every replay, attempt and retry.
 */

import type { Address, RunId } from "@aikirun/lib/protocol";
import type { SimulatedExecution } from "./execution.ts";
import type { Commit, Mirror } from "./mirror.ts";
import { nonceOf } from "./nonce.ts";
import { mayBeMistaken } from "./points.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** The call of a task or step, as its body identifies it. */
export interface Origin {
  kind: "task" | "step";
  /** Null if the inputs of several calls are equal, because then the body cannot determine its call. */
  path: string | null;
  /** Identifies the calls if `path` is null. */
  name: string;
}

/** One start of the body of a task or step. */
export interface SimulatedEffect extends Origin {
  runId: RunId;
  key: string;
  /** Whether its call had a key. */
  isKeyed: boolean;
  address: Address;
  attempt: number;
  try: number;
  fence: number;
  process: Process;
  /** A unique text, which is created for this start only. */
  nonce: string;
}

/** How a call's result was recorded. */
interface Done {
  type: "returned" | "threw";
  attempt: number;
}

/** The opposite timing: late instead of prompt, and after the result of the previous call instead of in parallel. */
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
  /** Runs with refused calls. These calls, and later ones, are made again, and their events go to other waits. */
  readonly #refused = new Set<RunId>();
  readonly #mistaken = new Set<RunId>();
  readonly #executions: SimulatedExecution[] = [];
  /** How often a call got a value that may also belong to another call. */
  mistakes = 0;

  constructor(world: World, mirror: Mirror) {
    this.#world = world;
    this.#mirror = mirror;
    mirror.onCommit((commit) => this.#record(commit));
  }

  maker(nonce: string): SimulatedEffect | undefined {
    return this.#makers.get(nonce);
  }

  /** Records that from now on alike calls of this run may have exchanged their values. */
  shuffle(runId: RunId): void {
    this.#shuffled.add(this.family(runId));
  }

  refuse(runId: RunId): void {
    this.#refused.add(this.family(runId));
  }

  isShuffled(runId: RunId): boolean {
    return this.#shuffled.has(this.family(runId));
  }

  /** How the result of a call is recorded in this run. Undefined if it is not recorded. */
  done(runId: RunId, path: string): Done | undefined {
    return this.#done.get(`${runId} ${path}`);
  }

  began(execution: SimulatedExecution): void {
    this.#executions.push(execution);
  }

  made(effect: SimulatedEffect): void {
    this.#makers.set(effect.nonce, effect);
  }

  /** Checks that a result was produced for the call that got it, in this run or in a run that this one retries. */
  belongs(execution: SimulatedExecution, { kind, path, name }: Origin & { path: string }, nonce: string): void {
    const maker = this.#makers.get(nonce);
    const isOwn = maker !== undefined && this.family(maker.runId) === this.family(execution.runId);
    if (!isOwn || maker.kind !== kind) {
      this.#violate(execution, `${path} got ${nonce}, which no body of this run made`);
      return;
    }
    if (execution.isShuffled) return;
    const isMeant = maker.path === null ? maker.name === name : maker.path === path;
    if (maker.path === null && isMeant) this.bind(execution, kind, path, nonce);
    else if (!isMeant && (maker.isKeyed || !this.#mayBeMistaken(execution, path, maker.path))) {
      this.#violate(execution, `${path} got ${nonce}, which is the value of another call`);
    }
  }

  /** Checks that no other call has got this value before. */
  bind(execution: SimulatedExecution, kind: string, path: string, value: string): void {
    if (execution.isShuffled || execution.order === "timed") return;
    if (kind.startsWith("event ") && this.#refused.has(this.family(execution.runId))) return;
    const key = `${this.family(execution.runId)} ${kind} ${value}`;
    const before = this.#paths.get(key) ?? path;
    this.#paths.set(key, before);
    if (before === path || this.isMistake(execution, path, before)) return;
    this.#violate(execution, `${path} got ${value}, which ${before} had got before`);
  }

  /** Records that the handler requested a timer. */
  asked({ runId }: SimulatedExecution, path: string): void {
    const key = `${this.family(runId)} ${path}`;
    if (!this.#asked.has(key)) this.#asked.set(key, this.#world.now);
  }

  /** Checks that a timer did not end early. */
  elapsed(execution: SimulatedExecution, path: string, ms: number): void {
    const since = this.#asked.get(`${this.family(execution.runId)} ${path}`) ?? this.#world.now;
    const passed = this.#world.now - since;
    if (passed < ms && !execution.isShuffled && !this.isMistake(execution, path, null))
      this.#violate(execution, `${path} of ${ms} ms ended after ${passed} ms`);
  }

  /**
   * Checks the idempotency key of a body. All executions in which the call is prompt have the same key, and so have all
   * executions in which it is late. A later try has the key of the try before it.
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
      this.#violate(execution, `${path} began with the idempotency key ${key}, and before with ${before}`);
  }

  /** Whether a call of this run, or of a run that it retries, got a value that may also belong to another call. */
  wasMistaken(runId: RunId): boolean {
    return this.#mistaken.has(this.family(runId));
  }

  /**
   * Whether the code made one of two calls where it had made the other before, because non-durable work took a
   * different time. Until it has made both calls, the engine cannot detect that. `other` is null if it may be any call.
   */
  isMistake(execution: SimulatedExecution, path: string, other: string | null): boolean {
    const family = this.family(execution.runId);
    const executions = this.executionsOf(execution.runId);
    const paths = new Set(other === null ? executions.flatMap(({ points }) => [...points.made.keys()]) : [other]);
    paths.delete(path);
    // Keys distinguish the calls, unless a call was recorded without a key.
    const isDistinguished = executions.every(({ isKeyed }) => isKeyed);
    const isMistake =
      !isDistinguished &&
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
   * As `isMistake`. Also true if only non-durable work decides a race, this call had no value before, and the other
   * call is alike, or if non-durable work decides in which branch the code makes one of the two calls.
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
   * Whether two executions made the call from different points, because non-durable work decides which of several lanes
   * continues with it. Then a replay may not find the call. `path` is null if it may be any call. Then the result is
   * also true if a cache makes a call prompt in one execution and late in another.
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
   * Whether two executions made a call after the results of different branches, because non-durable work decides which
   * branch continues first after a limiter, or which one wins a race. Also whether it decides that the call is made in
   * parallel with the previous call, or after its result. In both cases a later attempt may not find the call.
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

  /** The executions of this run, of the runs that it retries, and of the runs that retry it. */
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
