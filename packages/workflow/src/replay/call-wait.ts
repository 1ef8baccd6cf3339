/**
 * How long a replay waits for the handler to make a recorded call again. Code that is known to be the same will make
 * it; code that has changed may never.
 */

import type { Address, Build } from "@aikirun/lib/protocol";
import type { Host } from "./contract.ts";
import { familiarityOf } from "./fingerprint.ts";
import type { Recorded } from "./recorded.ts";
import { RunningTime } from "./running-time.ts";

/** Of code that may or may not have changed, in milliseconds of running time. */
const unknownMs = 60_000;
/** Of code that has changed: in all, in one activation, before values are delivered out of order. Milliseconds. */
const changedMs = 1_000;
/** Of code that has changed: without any durable call, before the run has diverged. Milliseconds. */
const divergedMs = 5_000;
/** How many pieces of running time the idle limit is measured in. */
const idlePieces = 20;
/** Of a later attempt: in all, in one activation, before it recalls what was recorded after a call that is missing. */
const recallMs = 1_000;
/** The pieces in which a replay that waits measures running time. Milliseconds. */
const pieceMs = 50;
/** After this time a waiting replay reports the call that it waits for, and frees its slot. Milliseconds. */
const noticedMs = 1_000;

/** What a replay that waits comes to. */
export interface Outcomes {
  /** It has waited for so long that `expecting` says for what. */
  noticed: () => void;
  /** Recorded values are delivered though the expected call was not made. */
  relaxed: () => void;
  /** It never will be. */
  diverged: () => void;
}

export class CallWait {
  readonly #time: RunningTime;
  readonly #build: string;
  readonly #recorded: Build | undefined;
  readonly #idleMs: number;
  readonly #notify: (call: Address | null) => void;
  /** The recorded call that the replay has been waiting for, for a while. */
  #expecting: Address | null = null;
  /** In this activation. */
  #waitedMs = 0;
  #isRelaxed = false;
  readonly #recallTime: RunningTime;
  #heldMs = 0;

  constructor({ env, expecting }: Host, build: string, recorded: Build | undefined, idleMs: number) {
    this.#time = new RunningTime(env);
    this.#recallTime = new RunningTime(env);
    this.#notify = expecting;
    this.#build = build;
    this.#recorded = recorded;
    this.#idleMs = idleMs;
  }

  /** Recorded values no longer wait for calls that were made before. */
  get isRelaxed(): boolean {
    return this.#isRelaxed;
  }

  /** What an earlier attempt recorded no longer waits for the calls that it had made before. */
  get recallsFreely(): boolean {
    return this.#heldMs >= recallMs;
  }

  /** The recorded call that the replay has been waiting for, for a while; null when it does not wait. */
  get expecting(): Address | null {
    return this.#expecting;
  }

  /** Whether the code that recorded this call is known to be other code. */
  isOther(call: Recorded): boolean {
    return this.#familiarity(call) === "other";
  }

  /** Whether the code that recorded this call may be other code. */
  mayBeChanged(call: Recorded): boolean {
    return this.#familiarity(call) !== "same";
  }

  /** Begins to wait for the call, unless it waits already. */
  begin(call: Recorded, { noticed, relaxed, diverged }: Outcomes): void {
    if (this.#time.isMeasuring) return;
    const familiarity = this.#familiarity(call);
    const limits = {
      same: { relaxMs: this.#idleMs, quietMs: this.#idleMs },
      unknown: { relaxMs: Math.min(unknownMs, this.#idleMs), quietMs: Math.min(unknownMs, this.#idleMs) },
      other: { relaxMs: changedMs, quietMs: divergedMs },
    }[familiarity];
    let quietMs = 0;
    this.#time.start(pieceMs, (ms) => {
      const before = quietMs;
      quietMs += ms;
      this.#waitedMs += ms;
      if (before < noticedMs && quietMs >= noticedMs) {
        this.#expecting = call.address;
        this.#notify(call.address);
        noticed();
      }
      if (this.#isRelaxed) {
        if (quietMs < limits.quietMs) return true;
        diverged();
        return false;
      }
      if (this.#waitedMs < limits.relaxMs) return true; // mutant: relax-after
      this.#isRelaxed = true;
      relaxed();
      return false;
    });
  }

  /** Holds back what is recalled, until `then`. */
  holdRecalled(then: () => void): void {
    if (this.#recallTime.isMeasuring) return;
    this.#recallTime.start(pieceMs, (ms) => {
      this.#heldMs += ms;
      if (!this.recallsFreely) return true;
      then();
      return false;
    });
  }

  /** Nothing is held back, or the run left. */
  releaseRecalled(): void {
    this.#recallTime.stop();
  }

  /** Calls `then` when the handler has awaited nothing durable for too long. */
  beginIdle(then: () => void): void {
    if (this.#time.isMeasuring) return;
    let quietMs = 0;
    this.#time.start(this.#idleMs / idlePieces, (ms) => {
      quietMs += ms;
      if (quietMs < this.#idleMs) return true;
      then();
      return false;
    });
  }

  /** The handler moves, or the run left. */
  stop(): void {
    this.#time.stop();
    if (this.#expecting === null) return;
    this.#expecting = null;
    this.#notify(null);
  }

  #familiarity(call: Recorded): "same" | "unknown" | "other" {
    const { entry, askSeq, callSite } = call;
    const seq = entry?.seq ?? Math.max(askSeq, (callSite?.madeAfter ?? 0) + 1);
    return familiarityOf(this.#build, this.#recorded, seq);
  }
}
