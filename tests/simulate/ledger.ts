/**
 * The witness: what handlers, task bodies and users saw, written down as it happened and apart from the engine. What is
 * not possible together is a violation at once.
 */

import { retryAddress, tryAddress } from "@aikirun/lib";
import type { Address, RunId } from "@aikirun/lib/protocol";
import { insertedOp } from "./code.ts";
import type { Mirror } from "./mirror.ts";
import { hash } from "./prng.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** What one durable call came to, as the handler saw it. */
export interface Observation {
  op: string;
  saw: string;
  /** Where it must be recorded before anything new begins; null where that is not known from outside. */
  address: Address | null;
}

/** One call of a handler: a replay, or a first execution. */
export interface Execution {
  number: number;
  runId: RunId;
  attempt: number;
  process: Process;
  /** The code that it executes, as a version of its program. */
  code: string;
  observations: Observation[];
  /** Awaits only what is durable: sees everything in the same order every time. */
  isOrdered: boolean;
  /** It saw what nobody will record, since it had lost its run and did not know that yet. */
  isAstray: boolean;
}

/** One start of a task's body. */
export interface Effect {
  runId: RunId;
  address: Address;
  attempt: number;
  try: number;
  fence: number;
  process: Process;
  op: string;
  /** Made for this start alone. */
  nonce: string;
}

export class Ledger {
  readonly world: World;
  readonly mirror: Mirror;
  readonly effects: Effect[] = [];
  /** Starts of bodies, by run, attempt, address and try. */
  readonly starts: Map<string, number> = new Map();
  /** Per run, attempt and code: what was seen before something new began; every replay begins with it. */
  readonly #firm = new Map<string, Observation[]>();
  /** The newest execution of a run in a process. */
  readonly #current = new Map<string, Execution>();
  /** What handlers returned, by run and attempt. */
  readonly outputs: Set<string> = new Set();
  /** Per run and op: where its bodies were recorded. */
  readonly addresses: Map<string, Address> = new Map();
  readonly #addressOfNonce = new Map<string, Address>();
  /** Children, by parent, attempt and op. */
  readonly #children = new Map<string, RunId>();
  /** What parents saw of their children's ends. */
  readonly childEnds: Map<RunId, string> = new Map();
  #executions = 0;
  /** The database's clock was moved, so leases may have ended early. */
  clockMoved = false;
  /** Workers were paused, so timers may have been late. */
  paused = false;

  constructor(world: World, mirror: Mirror) {
    this.world = world;
    this.mirror = mirror;
  }

  /** The attempt that a process executes of a run. */
  attemptOf(runId: RunId, process: Process): number {
    return this.#current.get(`${process.name} ${runId}`)?.attempt ?? 0;
  }

  addressOf(nonce: string): Address | null {
    return this.#addressOfNonce.get(nonce) ?? null;
  }

  /** A call of a child's start has one child. */
  childOf(parent: RunId, attempt: number, op: number, child: RunId): void {
    const key = `${parent} ${attempt} ${op}`;
    const before = this.#children.get(key) ?? child;
    this.#children.set(key, child);
    if (before !== child) this.world.violate("W12", `child${op} of ${this.world.names.of(parent)} is two runs`);
  }

  /** A parent saw how its child ended: always the same. */
  childEnded(child: RunId, end: string): void {
    const before = this.childEnds.get(child) ?? end;
    this.childEnds.set(child, end);
    if (before !== end) {
      this.world.violate("W7", `${this.world.names.of(child)} ended as ${before} and later as ${end}`);
    }
  }

  begin(run: Pick<Execution, "runId" | "attempt" | "process" | "code" | "isOrdered">): Execution {
    const execution: Execution = { ...run, number: this.#executions++, observations: [], isAstray: false };
    this.#current.set(`${run.process.name} ${run.runId}`, execution);
    return execution;
  }

  /**
   * A handler saw a value: the same as before, where something new has begun after it. One that has lost its run and
   * does not know it yet may see what its own process came to, which nobody will record: it begins nothing after that.
   */
  observe(execution: Execution, observation: Observation): void {
    const { observations, isOrdered } = execution;
    const firm = this.#firm.get(firmKey(execution)) ?? [];
    const index = observations.length;
    const before = isOrdered ? firm[index] : counterpart(firm, observations, observation);
    observations.push(observation);
    const isSame = before === undefined || (before.op === observation.op && before.saw === observation.saw);
    if (!isSame && isLocal(observation) && !this.#isHeld(execution)) execution.isAstray = true;
    else if (!isSame) {
      const run = this.world.names.of(execution.runId);
      this.world.violate("REPLAY", `${run} saw ${show(observation)} at ${index}, after ${show(before)} before`);
    }
  }

  /** A body begins: everything its handler has seen is durable by now (promise 2), and it is no ghost's. */
  effect(effect: Effect): void {
    this.effects.push(effect);
    this.#addressOfNonce.set(effect.nonce, effect.address);
    this.addresses.set(`${effect.runId} ${effect.op}`, effect.address);
    const { runId, process } = effect;
    const key = startKey(effect);
    this.starts.set(key, (this.starts.get(key) ?? 0) + 1);
    const execution = this.#current.get(`${process.name} ${runId}`);
    if (execution === undefined) {
      this.world.violate("HARNESS", `A body of ${this.world.names.of(runId)} runs without a handler.`);
      return;
    }
    if (execution.isAstray) {
      this.world.violate("REPLAY", `${effect.op} of ${this.world.names.of(runId)} began after what nobody recorded`);
      return;
    }
    this.#checkFence(effect);
    this.#checkDurable(execution);
    this.#checkRepeat(effect);
    this.#checkTries(effect);
    this.#checkFit(effect);
    this.#harden(execution);
  }

  /** The handler ended: what it saw is what the run's output says. */
  conclude(execution: Execution): string {
    const seen = execution.observations.map(show).join("|");
    const output = `${execution.observations.length}:${(hash(seen, 0) >>> 0).toString(16)}`;
    if (!execution.isAstray) this.outputs.add(`${execution.runId} ${execution.attempt} ${output}`);
    return output;
  }

  /** Whether the run is executed there and nowhere else. */
  #isHeld(execution: Execution): boolean {
    const { runId, process } = execution;
    const state = this.mirror.runs.get(runId)?.state;
    const isCurrent = this.#current.get(`${process.name} ${runId}`) === execution;
    return isCurrent && state?.status === "running" && state.worker === process.name;
  }

  #checkFence({ runId, fence, op }: Effect): void {
    const row = this.mirror.runs.get(runId);
    if (row === undefined) {
      this.world.violate("P1", `A body of run ${runId} began, and there is no such run.`);
    } else if (row.fence > fence && !this.clockMoved) {
      const run = this.world.names.of(runId);
      this.world.violate("R4", `${op} of ${run} began under fence ${fence}, which ${row.fence} had taken over`);
    }
  }

  #checkDurable(execution: Execution): void {
    const { runId, observations } = execution;
    for (const { address, op } of observations) {
      if (address !== null && this.mirror.latestAt(runId, address) === undefined) {
        this.world.violate("P2", `Something new began in ${this.world.names.of(runId)} before ${op} was recorded`);
      }
    }
  }

  /** What is recorded as done is not done again. */
  #checkRepeat({ runId, address, op, fence, attempt }: Effect): void {
    const entry = this.mirror.latestAt(runId, address);
    const isOver = entry?.value.type === "returned" || (entry?.value.type === "threw" && entry.attempt === attempt);
    const isCurrent = this.mirror.runs.get(runId)?.fence === fence;
    if (isOver && (isCurrent || !this.clockMoved)) {
      this.world.violate("P2", `${op} of ${this.world.names.of(runId)} began again after its result was recorded`);
    }
  }

  /** A try follows the one before, which is recorded, and not before its time. */
  #checkTries({ runId, address, attempt, try: nth, op }: Effect): void {
    if (nth === 1) return;
    const run = this.world.names.of(runId);
    const before = this.mirror.entryAt(runId, attempt, tryAddress(address, nth - 1));
    if (before?.value.type !== "retrying") {
      this.world.violate("P2", `Try ${nth} of ${op} of ${run} began before the failure of the one before was recorded`);
      return;
    }
    const { retryAt } = before.value;
    if (retryAt - before.at >= 1_000) {
      if (this.mirror.entryAt(runId, attempt, retryAddress(address, nth - 1)) === undefined) {
        this.world.violate("P4", `Try ${nth} of ${op} of ${run} began before its wait was over`);
      }
    } else if (!this.clockMoved && this.mirror.now() < retryAt) {
      this.world.violate("P4", `Try ${nth} of ${op} of ${run} began ${retryAt - this.mirror.now()} ms early`);
    }
  }

  /** Code that does not fit its run begins nothing; what is recorded since it was claimed its worker may not know. */
  #checkFit({ runId, attempt, fence, op, address }: Effect): void {
    if (op !== `task${insertedOp}`) return;
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
        `${op} of ${this.world.names.of(runId)} began though ${unclaimed.address} was unclaimed`,
      );
    }
  }

  #harden(execution: Execution): void {
    const key = firmKey(execution);
    const firm = this.#firm.get(key) ?? [];
    if (execution.observations.length > firm.length) this.#firm.set(key, [...execution.observations]);
  }
}

export function startKey(effect: Pick<Effect, "runId" | "attempt" | "address" | "try">): string {
  return `${effect.runId} ${effect.attempt} ${effect.address} ${effect.try}`;
}

/** What a worker comes to by itself, before anybody else knows. */
function isLocal({ op }: Observation): boolean {
  return /^(task|step|clock|random|uuid)/.test(op);
}

/** What the same call came to before; of calls that their content tells from others, whatever their order. */
function counterpart(firm: Observation[], now: Observation[], { op }: Observation): Observation | undefined {
  if (!/^(task|step|child)/.test(op)) return undefined;
  const nth = now.filter((other) => other.op === op).length;
  return firm.filter((other) => other.op === op)[nth];
}

function firmKey({ runId, attempt, code }: Execution): string {
  return `${runId} ${attempt} ${code}`;
}

function show({ op, saw }: Observation): string {
  return `${op}=${saw}`;
}
