/**
 * Records what handlers, task bodies and users observe, without the engine. The ledger reports each contradiction
 * between two observations as a violation.
 */

import { retryAddress, tryAddress } from "@aikirun/lib/internal";
import type { Address, RunId } from "@aikirun/lib/protocol";
import { insertedPath } from "./code.ts";
import {
  ConfirmedObservations,
  type ExecutionStart,
  executionOf,
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
  /** Starts of bodies, by run, attempt of the run, call, and attempt of the call. */
  readonly starts: Map<string, number> = new Map();
  /** The outputs of handlers, by run and attempt. */
  readonly outputs: Set<string> = new Set();
  /** How children ended, by the values that their parents received. */
  readonly childEnds: Map<RunId, string> = new Map();
  /** Whether the clock of the database jumped, so that leases may have expired early. */
  clockMoved = false;
  /** Whether workers were paused, so that timers may have been late. */
  paused = false;
  /** Runs that were refused as ambiguous, with the refused calls. These calls, and later ones, are executed again. */
  readonly #refused = new Map<RunId, Set<string>>();
  /** How often an effect was repeated, after a refusal or in a later attempt, although its result was recorded. */
  repeats = 0;
  /** By run, attempt and code: the results that a handler had received when a new call began. */
  readonly #confirmed = new Map<string, ConfirmedObservations>();
  /** The latest execution of each run in each process. */
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

  /** The attempt of a run that a process executes. */
  attemptOf(runId: RunId, process: Process): number {
    return this.#current.get(`${process.name} ${runId}`)?.attempt ?? 0;
  }

  /** Records that a run was refused at this call. */
  refuse(runId: RunId, call: Address): void {
    const family = this.identity.family(runId);
    const calls = this.#refused.get(family) ?? new Set();
    this.#refused.set(family, calls.add(call.replace(/#\d+$/, "")));
    this.identity.refuse(runId);
  }

  wasRefusedAt(runId: RunId, call: string): boolean {
    return this.#refused.get(this.identity.family(runId))?.has(call) === true;
  }

  /** Whether the rules that identify a call by its path no longer apply to this run. */
  wasRefused(runId: RunId): boolean {
    return this.#refused.has(this.identity.family(runId)) || this.identity.wasMistaken(runId);
  }

  /** Whether calls with the content of this one are recorded at several addresses. */
  isRecordedTwice(runId: RunId, call: Address): boolean {
    const contentOf = (address: Address): string => address.slice(0, address.lastIndexOf("#"));
    const alike = this.mirror.journal(runId).filter(({ address }) => contentOf(address) === contentOf(call));
    return new Set(alike.map(({ address }) => address)).size > 1;
  }

  /** Whether the calls of a run have keys in the code of this process. */
  isKeyed(runId: RunId, process: Process): boolean {
    return this.#current.get(`${process.name} ${runId}`)?.isKeyed === true;
  }

  executionsOf(runId: RunId): readonly SimulatedExecution[] {
    return this.#executions.get(runId) ?? [];
  }

  /** Records the child of a call. A call starts one child, and a child belongs to one call. */
  childOf(execution: SimulatedExecution, path: string, child: RunId): void {
    const { runId, attempt } = execution;
    const key = `${runId} ${attempt} ${path}`;
    const before = this.#children.get(key) ?? child;
    this.#children.set(key, child);
    if (before !== child && this.wasRefused(runId)) this.repeats += 1;
    else if (before !== child) this.world.violate("CHILD", `${path} of ${this.world.names.of(runId)} started two runs`);
    this.identity.bind(execution, "child", path, child);
  }

  /** Records how a child ended for its parent, which must always be the same. */
  childEnded(child: RunId, end: string): void {
    const before = this.childEnds.get(child) ?? end;
    this.childEnds.set(child, end);
    if (before !== end) {
      this.world.violate("RESULT", `${this.world.names.of(child)} ended with ${before} and later with ${end}`);
    }
  }

  begin(begun: ExecutionStart): SimulatedExecution {
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
   * Records a value that a handler received. If a new call has begun after it, replays must receive the same value. If
   * the worker has lost the run and has not detected it, the handler may receive a value of its own process that is
   * never recorded. It may begin no call after that.
   */
  observe(execution: SimulatedExecution, observation: Observation): void {
    if (!isImmediate(observation)) execution.observations.push(observation);
    execution.byPath.set(observation.path, observation);
    const before = this.#confirmed.get(confirmedKey(execution))?.contradiction(execution, observation) ?? null;
    if (before === null || this.wasRefused(execution.runId)) return;
    if (this.identity.isMistake(execution, observation.path, null)) return;
    if (isLocal(observation) && !this.#isHeld(execution)) {
      execution.sawUnrecorded = true;
      return;
    }
    const run = this.world.names.of(execution.runId);
    const at = execution.observations.length;
    this.world.violate("REPLAY", `${run} received ${show(observation)} at ${at}, and ${show(before)} before`);
  }

  /** Records that a body begins. All values of its handler must be recorded, and its worker must hold the run. */
  effect(effect: SimulatedEffect): void {
    this.effects.push(effect);
    this.identity.made(effect);
    const { runId, process, path, name } = effect;
    const key = startKey(effect);
    this.starts.set(key, (this.starts.get(key) ?? 0) + 1);
    const execution = this.#current.get(`${process.name} ${runId}`);
    const run = this.world.names.of(runId);
    if (execution === undefined) {
      this.world.violate("HARNESS", `A body of ${run} began without a handler.`);
      return;
    }
    if (execution.sawUnrecorded) {
      this.world.violate("REPLAY", `${path ?? name} of ${run} began after a value that was never recorded`);
      return;
    }
    this.#checkAmbiguous(execution, effect);
    this.#bindDerived(execution);
    this.#checkFence(effect);
    this.#checkDurable(execution);
    this.#checkRepeat(effect, execution);
    this.#checkAttempts(effect);
    this.#checkFit(effect);
    this.identity.keyed(effect, execution);
    this.#confirm(execution);
  }

  /** Records that the handler ended. The output is a hash of the values that it received. */
  conclude(execution: SimulatedExecution, results: readonly string[]): string {
    const output = `${results.length}:${(hash(results.join("|"), 0) >>> 0).toString(16)}`;
    if (!execution.sawUnrecorded) this.outputs.add(`${execution.runId} ${execution.attempt} ${output}`);
    return output;
  }

  /** Whether this execution holds the run. */
  #isHeld(execution: SimulatedExecution): boolean {
    const { runId, process } = execution;
    const state = this.mirror.runs.get(runId)?.state;
    const isCurrent = this.#current.get(`${process.name} ${runId}`) === execution;
    return isCurrent && state?.status === "running" && state.worker === process.name;
  }

  /** Checks derived values. They are not recorded, so they may differ until a call follows them. */
  #bindDerived(execution: SimulatedExecution): void {
    for (const { kind, path, saw } of execution.byPath.values()) {
      if (kind === "uuid" || kind === "random") this.identity.bind(execution, kind, path, saw);
    }
  }

  /** Calls that cannot be distinguished must be refused before another call begins. */
  #checkAmbiguous({ points }: SimulatedExecution, { runId, nonce }: SimulatedEffect): void {
    const [clash] = points.clashes;
    if (clash === undefined) return;
    this.world.violate(
      "AMBIGUOUS_CALL",
      `${nonce} of ${this.world.names.of(runId)} began although calls ${clash} cannot be distinguished`,
    );
  }

  #checkFence({ runId, fence, nonce }: SimulatedEffect): void {
    const row = this.mirror.runs.get(runId);
    if (row === undefined) {
      this.world.violate("LOST_RUN", `A body of run ${runId} began, but there is no such run.`);
    } else if (row.fence > fence && !this.clockMoved) {
      const run = this.world.names.of(runId);
      this.world.violate(
        "HOLDER",
        `${nonce} of ${run} began under fence ${fence}, although the run has fence ${row.fence}`,
      );
    }
  }

  #checkDurable({ runId, observations }: SimulatedExecution): void {
    for (const { nonce } of observations) {
      if (nonce !== null && !this.mirror.holds(runId, nonce)) {
        this.world.violate(
          "EARLY_EFFECT",
          `An effect of ${this.world.names.of(runId)} began before ${nonce} was recorded`,
        );
      }
    }
  }

  /** An effect whose result is recorded is not repeated, neither at its address nor for its call. */
  #checkRepeat({ runId, address, path, nonce, fence, attempt }: SimulatedEffect, execution: SimulatedExecution): void {
    const isCurrent = this.mirror.runs.get(runId)?.fence === fence;
    if (!isCurrent && this.clockMoved) return;
    const entry = this.mirror.latestAt(runId, address);
    const done = path === null || execution.isShuffled ? undefined : this.identity.done(runId, path);
    const ends = [entry && { type: entry.value.type, attempt: entry.attempt }, done].filter((end) => end !== undefined);
    const isOver = ends.some(({ type, attempt: of }) => type === "returned" || (type === "threw" && of === attempt));
    // If non-durable work decides a race in another way, the code reaches its calls in another way.
    const isTimed =
      execution.order === "timed" || this.identity.isUnsettled(runId, null) || this.identity.isReordered(runId);
    // A run that retries another one has the other one's results as those of attempt 0.
    const isStray = isTimed && ends.every((end) => end.attempt < attempt);
    if (isOver && (isStray || this.wasRefused(runId))) this.repeats += 1;
    else if (isOver && !this.identity.isUnsettled(runId, path)) {
      this.world.violate(
        "REPEATED_EFFECT",
        `${nonce} of ${this.world.names.of(runId)} began after its call's result was recorded`,
      );
    }
  }

  /** An attempt begins after the previous one is recorded, and not before its time. */
  #checkAttempts({ runId, address, attempt, try: nth, nonce }: SimulatedEffect): void {
    if (nth === 1) return;
    const run = this.world.names.of(runId);
    const before = this.mirror.entryAt(runId, attempt, tryAddress(address, nth - 1));
    if (before?.value.type !== "retrying") {
      this.world.violate(
        "EARLY_EFFECT",
        `Attempt ${nth}, ${nonce} of ${run}, began before the failure of the previous one was recorded`,
      );
      return;
    }
    const { retryAt } = before.value;
    if (retryAt - before.at >= 1_000) {
      if (this.mirror.entryAt(runId, attempt, retryAddress(address, nth - 1)) === undefined) {
        this.world.violate("TIMER", `Attempt ${nth}, ${nonce} of ${run}, began before its wait was over`);
      }
    } else if (!this.clockMoved && this.mirror.now() < retryAt) {
      this.world.violate("TIMER", `Attempt ${nth}, ${nonce} of ${run}, began ${retryAt - this.mirror.now()} ms early`);
    }
  }

  /** Code that does not fit its run begins no call. The worker may not know entries that are newer than its claim. */
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
        "DIVERGED",
        `${path} of ${this.world.names.of(runId)} began before the recorded call ${unclaimed.address}`,
      );
    }
  }

  #confirm(execution: SimulatedExecution): void {
    const key = confirmedKey(execution);
    const confirmed = this.#confirmed.get(key) ?? new ConfirmedObservations();
    this.#confirmed.set(key, confirmed);
    confirmed.confirm(execution);
  }
}

export function startKey({ runId, attempt, path, address, try: nth }: SimulatedEffect): string {
  return `${runId} ${attempt} ${path ?? address} ${nth}`;
}

function confirmedKey({ runId, attempt, code }: SimulatedExecution): string {
  return `${runId} ${attempt} ${code}`;
}

function show({ path, saw }: Observation): string {
  return `${path}=${saw}`;
}
