/**
 * The witness: what handlers, task bodies and users saw, written down as it happened and apart from the engine. What is
 * not possible together is a violation at once.
 */

import { retryAddress, tryAddress } from "@aikirun/lib/internal";
import type { Address, RunId } from "@aikirun/lib/protocol";
import { insertedPath } from "./code.ts";
import {
  type Begun,
  executionOf,
  Firm,
  isImmediate,
  isLocal,
  type Observation,
  type SimulatedExecution,
} from "./execution.ts";
import { IdentityChecker, type SimulatedEffect } from "./identity.ts";
import type { Mirror } from "./mirror.ts";
import { hash } from "./prng.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

export class Ledger {
  readonly world: World;
  readonly mirror: Mirror;
  readonly identity: IdentityChecker;
  readonly effects: SimulatedEffect[] = [];
  /** Starts of bodies, by run, attempt, call and try. */
  readonly starts: Map<string, number> = new Map();
  /** What handlers returned, by run and attempt. */
  readonly outputs: Set<string> = new Set();
  /** What parents saw of their children's ends. */
  readonly childEnds: Map<RunId, string> = new Map();
  /** The database's clock was moved, so leases may have ended early. */
  clockMoved = false;
  /** Workers were paused, so timers may have been late. */
  paused = false;
  /** Runs that were refused as ambiguous: what is recorded of such calls, and of what follows them, is done again. */
  readonly #refused = new Map<RunId, Set<string>>();
  /** How often that happened. */
  redone = 0;
  /** Per run, attempt and code: what was seen before something new began; every replay begins with it. */
  readonly #firm = new Map<string, Firm>();
  /** The newest execution of a run in a process. */
  readonly #current = new Map<string, SimulatedExecution>();
  /** All executions of a run. */
  readonly #executions = new Map<RunId, SimulatedExecution[]>();
  /** Children, by parent, attempt and path. */
  readonly #children = new Map<string, RunId>();

  constructor(world: World, mirror: Mirror) {
    this.world = world;
    this.mirror = mirror;
    this.identity = new IdentityChecker(world, mirror);
  }

  /** The attempt that a process executes of a run. */
  attemptOf(runId: RunId, process: Process): number {
    return this.#current.get(`${process.name} ${runId}`)?.attempt ?? 0;
  }

  /** A run was refused at this call. */
  refuse(runId: RunId, call: Address): void {
    const family = this.identity.family(runId);
    const calls = this.#refused.get(family) ?? new Set();
    this.#refused.set(family, calls.add(call.replace(/#\d+$/, "")));
  }

  wasRefusedAt(runId: RunId, call: string): boolean {
    return this.#refused.get(this.identity.family(runId))?.has(call) === true;
  }

  /** Whether the rules that follow a call by its path cannot judge this run any more. */
  wasRefused(runId: RunId): boolean {
    return this.#refused.has(this.identity.family(runId)) || this.identity.wasMistaken(runId);
  }

  /** Whether the calls of what a process executes of a run have keys. */
  isKeyed(runId: RunId, process: Process): boolean {
    return this.#current.get(`${process.name} ${runId}`)?.isKeyed === true;
  }

  executionsOf(runId: RunId): readonly SimulatedExecution[] {
    return this.#executions.get(runId) ?? [];
  }

  /** A call of a child's start has one child, and that has one call. */
  childOf(execution: SimulatedExecution, path: string, child: RunId): void {
    const { runId, attempt } = execution;
    const key = `${runId} ${attempt} ${path}`;
    const before = this.#children.get(key) ?? child;
    this.#children.set(key, child);
    if (before !== child && this.wasRefused(runId)) this.redone += 1;
    else if (before !== child) this.world.violate("W12", `${path} of ${this.world.names.of(runId)} is two runs`);
    this.identity.bind(execution, "child", path, child);
  }

  /** A parent saw how its child ended: always the same. */
  childEnded(child: RunId, end: string): void {
    const before = this.childEnds.get(child) ?? end;
    this.childEnds.set(child, end);
    if (before !== end) {
      this.world.violate("W7", `${this.world.names.of(child)} ended as ${before} and later as ${end}`);
    }
  }

  begin(begun: Begun): SimulatedExecution {
    const { runId, process } = begun;
    const execution = executionOf(begun);
    this.#current.set(`${process.name} ${runId}`, execution);
    this.identity.began(execution);
    const executions = this.#executions.get(runId);
    if (executions === undefined) this.#executions.set(runId, [execution]);
    else executions.push(execution);
    return execution;
  }

  /**
   * A handler saw a value: the same as before, where something new has begun after it. One that has lost its run and
   * does not know it yet may see what its own process came to, which nobody will record: it begins nothing after that.
   */
  observe(execution: SimulatedExecution, observation: Observation): void {
    if (!isImmediate(observation)) execution.observations.push(observation);
    execution.byPath.set(observation.path, observation);
    const before = this.#firm.get(firmKey(execution))?.contradiction(execution, observation) ?? null;
    if (before === null || this.wasRefused(execution.runId)) return;
    if (this.identity.isMistake(execution, observation.path, null)) return;
    if (isLocal(observation) && !this.#isHeld(execution)) {
      execution.isAstray = true;
      return;
    }
    const run = this.world.names.of(execution.runId);
    const at = execution.observations.length;
    this.world.violate("REPLAY", `${run} saw ${show(observation)} at ${at}, and ${show(before)} before`);
  }

  /** A body begins: everything its handler has seen is durable by now (promise 2), and it is no ghost's. */
  effect(effect: SimulatedEffect): void {
    this.effects.push(effect);
    this.identity.made(effect);
    const { runId, process, path, name } = effect;
    const key = startKey(effect);
    this.starts.set(key, (this.starts.get(key) ?? 0) + 1);
    const execution = this.#current.get(`${process.name} ${runId}`);
    const run = this.world.names.of(runId);
    if (execution === undefined) {
      this.world.violate("HARNESS", `A body of ${run} runs without a handler.`);
      return;
    }
    if (execution.isAstray) {
      this.world.violate("REPLAY", `${path ?? name} of ${run} began after what nobody recorded`);
      return;
    }
    this.#checkTold(execution, effect);
    this.#bindDerived(execution);
    this.#checkFence(effect);
    this.#checkDurable(execution);
    this.#checkRepeat(effect, execution);
    this.#checkTries(effect);
    this.#checkFit(effect);
    this.identity.keyed(effect, execution);
    this.#harden(execution);
  }

  /** The handler ended: what it was given is what the run's output says. */
  conclude(execution: SimulatedExecution, results: readonly string[]): string {
    const output = `${results.length}:${(hash(results.join("|"), 0) >>> 0).toString(16)}`;
    if (!execution.isAstray) this.outputs.add(`${execution.runId} ${execution.attempt} ${output}`);
    return output;
  }

  /** Whether the run is executed there and nowhere else. */
  #isHeld(execution: SimulatedExecution): boolean {
    const { runId, process } = execution;
    const state = this.mirror.runs.get(runId)?.state;
    const isCurrent = this.#current.get(`${process.name} ${runId}`) === execution;
    return isCurrent && state?.status === "running" && state.worker === process.name;
  }

  /** Values that are derived, and not recorded, may differ before anything follows them. */
  #bindDerived(execution: SimulatedExecution): void {
    for (const { kind, path, saw } of execution.byPath.values()) {
      if (kind === "uuid" || kind === "random") this.identity.bind(execution, kind, path, saw);
    }
  }

  /** Calls that nothing tells apart are refused before anything follows them. */
  #checkTold({ points }: SimulatedExecution, { runId, nonce }: SimulatedEffect): void {
    const [clash] = points.clashes;
    if (clash === undefined) return;
    this.world.violate("TOLD", `${nonce} of ${this.world.names.of(runId)} began though nothing tells apart ${clash}`);
  }

  #checkFence({ runId, fence, nonce }: SimulatedEffect): void {
    const row = this.mirror.runs.get(runId);
    if (row === undefined) {
      this.world.violate("P1", `A body of run ${runId} began, and there is no such run.`);
    } else if (row.fence > fence && !this.clockMoved) {
      const run = this.world.names.of(runId);
      this.world.violate("R4", `${nonce} of ${run} began under fence ${fence}, which ${row.fence} had taken over`);
    }
  }

  #checkDurable({ runId, observations }: SimulatedExecution): void {
    for (const { nonce } of observations) {
      if (nonce !== null && !this.mirror.holds(runId, nonce)) {
        this.world.violate("P2", `Something new began in ${this.world.names.of(runId)} before ${nonce} was recorded`);
      }
    }
  }

  /** What is recorded as done is not done again: neither at its address, nor for its call. */
  #checkRepeat({ runId, address, path, nonce, fence, attempt }: SimulatedEffect, execution: SimulatedExecution): void {
    const isCurrent = this.mirror.runs.get(runId)?.fence === fence;
    if (!isCurrent && this.clockMoved) return;
    const entry = this.mirror.latestAt(runId, address);
    const done = path === null || execution.isShuffled ? undefined : this.identity.done(runId, path);
    const isOver = [entry && { type: entry.value.type, attempt: entry.attempt }, done].some(
      (end) => end?.type === "returned" || (end?.type === "threw" && end.attempt === attempt),
    );
    // Where a race that plain work decides came out another way, code comes to its calls another way.
    const isTimed =
      execution.order === "timed" || this.identity.isUnsettled(runId, null) || this.identity.isReordered(runId);
    const isStray = isTimed && attempt > 1;
    if (isOver && (isStray || this.wasRefused(runId))) this.redone += 1;
    else if (isOver && !this.identity.isUnsettled(runId, path)) {
      this.world.violate("P2", `${nonce} of ${this.world.names.of(runId)} began after its call's result was recorded`);
    }
  }

  /** A try follows the one before, which is recorded, and not before its time. */
  #checkTries({ runId, address, attempt, try: nth, nonce }: SimulatedEffect): void {
    if (nth === 1) return;
    const run = this.world.names.of(runId);
    const before = this.mirror.entryAt(runId, attempt, tryAddress(address, nth - 1));
    if (before?.value.type !== "retrying") {
      this.world.violate(
        "P2",
        `Try ${nth}, ${nonce} of ${run}, began before the failure of the one before was recorded`,
      );
      return;
    }
    const { retryAt } = before.value;
    if (retryAt - before.at >= 1_000) {
      if (this.mirror.entryAt(runId, attempt, retryAddress(address, nth - 1)) === undefined) {
        this.world.violate("P4", `Try ${nth}, ${nonce} of ${run}, began before its wait was over`);
      }
    } else if (!this.clockMoved && this.mirror.now() < retryAt) {
      this.world.violate("P4", `Try ${nth}, ${nonce} of ${run}, began ${retryAt - this.mirror.now()} ms early`);
    }
  }

  /** Code that does not fit its run begins nothing; what is recorded since it was claimed its worker may not know. */
  #checkFit({ runId, attempt, fence, path, address }: SimulatedEffect): void {
    if (path !== insertedPath || this.wasRefused(runId)) return;
    const isClaimable = /^(task|step|sleep|event|child):/;
    const unclaimed = this.mirror
      .journal(runId)
      .find(
        (entry) =>
          entry.attempt === attempt &&
          entry.fence < fence &&
          isClaimable.test(entry.address) &&
          !entry.address.startsWith(address),
      );
    const isCall = unclaimed !== undefined && !/\/(result|\d+|retry)$|\/wait#/.test(unclaimed.address);
    if (isCall) {
      this.world.violate(
        "FIT",
        `${path} of ${this.world.names.of(runId)} began though ${unclaimed.address} was unclaimed`,
      );
    }
  }

  #harden(execution: SimulatedExecution): void {
    const key = firmKey(execution);
    const firm = this.#firm.get(key) ?? new Firm();
    this.#firm.set(key, firm);
    firm.harden(execution);
  }
}

export function startKey({ runId, attempt, path, address, try: nth }: SimulatedEffect): string {
  return `${runId} ${attempt} ${path ?? address} ${nth}`;
}

function firmKey({ runId, attempt, code }: SimulatedExecution): string {
  return `${runId} ${attempt} ${code}`;
}

function show({ path, saw }: Observation): string {
  return `${path}=${saw}`;
}
