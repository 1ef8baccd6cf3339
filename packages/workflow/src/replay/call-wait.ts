/**
 * How long a replay waits for the handler to make a recorded call again. Code that is known to be the same makes it
 * sooner or later. Code that has changed may not make it at all.
 */

import type { Address, Build } from "@aikirun/lib/protocol";
import type { Host } from "./contract.ts";
import { familiarityOf } from "./fingerprint.ts";
import type { Recorded } from "./recorded.ts";
import { RunningTime } from "./running-time.ts";

/** The wait when the code may or may not have changed. Milliseconds of running time. */
const unknownMs = 60_000;
/** When the code has changed: the total wait in one activation before values are delivered out of order. In ms. */
const changedMs = 1_000;
/** When the code has changed: the time without a durable call after which the run has diverged. Milliseconds. */
const divergedMs = 5_000;
/** The number of measurements into which the idle limit is divided. */
const idlePieces = 20;
/**
 * In a later attempt: the total wait in one activation for a missing call of an earlier attempt. After it, values that
 * were recorded after that call are reused. Milliseconds.
 */
const reuseMs = 1_000;
/** The interval at which a waiting replay measures running time. Milliseconds. */
const pieceMs = 50;
/** After this time a waiting replay reports the call that it waits for, and frees its slot. Milliseconds. */
const noticedMs = 1_000;

/** What happens while a replay waits. Each function is called at most once for each wait. */
export interface CallWaitOutcomes {
  /** The replay has waited for one second: `expecting` now names the call. */
  noticed: () => void;
  /** Recorded values are now delivered although the expected call was not made. */
  relaxed: () => void;
  /** The handler will not make the expected call: the run has diverged. */
  diverged: () => void;
}

export class CallWait {
  readonly #time: RunningTime;
  readonly #build: string;
  readonly #recorded: Build | undefined;
  readonly #idleMs: number;
  readonly #notify: (call: Address | null) => void;
  /** The recorded call for which the replay has waited for at least one second. */
  #expecting: Address | null = null;
  /** The total wait in this activation. */
  #waitedMs = 0;
  #isRelaxed = false;
  readonly #reuseTime: RunningTime;
  #heldMs = 0;

  constructor({ env, expecting }: Host, build: string, recorded: Build | undefined, idleMs: number) {
    this.#time = new RunningTime(env);
    this.#reuseTime = new RunningTime(env);
    this.#notify = expecting;
    this.#build = build;
    this.#recorded = recorded;
    this.#idleMs = idleMs;
  }

  /** Whether recorded values are delivered without waiting for the calls that were made before them. */
  get isRelaxed(): boolean {
    return this.#isRelaxed;
  }

  /** Whether values of an earlier attempt are reused without waiting for the calls that were made before them. */
  get reusesFreely(): boolean {
    return this.#heldMs >= reuseMs;
  }

  /** The recorded call for which the replay has waited for at least one second; null when there is none. */
  get expecting(): Address | null {
    return this.#expecting;
  }

  /** Whether it is certain that different code recorded this call. */
  isOfOtherCode(call: Recorded): boolean {
    return this.#familiarity(call) === "other";
  }

  /** Whether it is possible that different code recorded this call. */
  mayBeOfOtherCode(call: Recorded): boolean {
    return this.#familiarity(call) !== "same";
  }

  /** Begins to wait for the call. Does nothing if a wait is already measured. */
  begin(call: Recorded, { noticed, relaxed, diverged }: CallWaitOutcomes): void {
    if (this.#time.isMeasuring) return;
    const familiarity = this.#familiarity(call);
    const limits = {
      same: { relaxMs: this.#idleMs, withoutCallMs: this.#idleMs },
      unknown: { relaxMs: Math.min(unknownMs, this.#idleMs), withoutCallMs: Math.min(unknownMs, this.#idleMs) },
      other: { relaxMs: changedMs, withoutCallMs: divergedMs },
    }[familiarity];
    let withoutCallMs = 0;
    this.#time.start(pieceMs, (ms) => {
      const before = withoutCallMs;
      withoutCallMs += ms;
      this.#waitedMs += ms;
      if (before < noticedMs && withoutCallMs >= noticedMs) {
        this.#expecting = call.address;
        this.#notify(call.address);
        noticed();
      }
      if (this.#isRelaxed) {
        if (withoutCallMs < limits.withoutCallMs) return true;
        diverged();
        return false;
      }
      if (this.#waitedMs < limits.relaxMs) return true; // mutant: relax-after
      this.#isRelaxed = true;
      relaxed();
      return false;
    });
  }

  /** If `isHeld`, delays reused values and calls `then` when they may be delivered; otherwise stops the delay. */
  holdReused(isHeld: boolean, then: () => void): void {
    if (!isHeld) this.releaseReused();
    if (!isHeld || this.#reuseTime.isMeasuring) return;
    this.#reuseTime.start(pieceMs, (ms) => {
      this.#heldMs += ms;
      if (!this.reusesFreely) return true;
      then();
      return false;
    });
  }

  /** Call when no reused value is delayed any more, or when the run has left the worker. */
  releaseReused(): void {
    this.#reuseTime.stop();
  }

  /** Calls `then` when the handler has awaited nothing durable for too long. */
  beginIdle(then: () => void): void {
    if (this.#time.isMeasuring) return;
    let withoutCallMs = 0;
    this.#time.start(this.#idleMs / idlePieces, (ms) => {
      withoutCallMs += ms;
      if (withoutCallMs < this.#idleMs) return true;
      then();
      return false;
    });
  }

  /** Call when the handler has made progress, or when the run has left the worker. */
  stop(): void {
    this.#time.stop();
    if (this.#expecting === null) return;
    this.#expecting = null;
    this.#notify(null);
  }

  #familiarity(call: Recorded): "same" | "unknown" | "other" {
    const { entry, askedSeq, callSite } = call;
    const seq = entry?.seq ?? Math.max(askedSeq, (callSite?.madeAfter ?? 0) + 1);
    return familiarityOf(this.#build, this.#recorded, seq);
  }
}
