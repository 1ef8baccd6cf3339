import type { Next, ReportedStall } from "@aikirun/lib/protocol";
import type { Conclusion } from "./report-answer.ts";

export type LeavingReason = "shutdown" | "paused";

/** What an execution is doing when its run is to leave the worker. */
interface Progress {
  /** Whether running tries of tasks or short delays keep the slot. */
  isBusy: boolean;
  /** Whether the handler continues, or a child starts, once new facts are recorded. */
  isRecording: boolean;
  /** Whether the handler awaits only durable calls. */
  isWaiting: boolean;
}

/** Why and how a run leaves the worker: its handler has ended, the run stalls, or the worker releases it. */
export class Leaving {
  #conclusion: Conclusion | null = null;
  #stall: ReportedStall | null = null;
  #release: LeavingReason | null = null;

  /** How the handler ended. */
  get conclusion(): Conclusion | null {
    return this.#conclusion;
  }

  /** Whether the handler has ended or the run stalls: no value is delivered and no call begins any more. */
  get isDecided(): boolean {
    return this.#conclusion !== null || this.#stall !== null;
  }

  /** Whether the run is to be released: no task and no child begins any more. */
  get isReleased(): boolean {
    return this.#release !== null;
  }

  /** Whether the run may stay in the worker during the delay before a task's next try. */
  get mayDelay(): boolean {
    return this.#release === null && this.#stall === null;
  }

  /** Returns false when the conclusion is ignored because a call of the handler was refused. */
  conclude(conclusion: Conclusion): boolean {
    if (this.#stall?.reason === "ambiguous_call") return false;
    this.#conclusion ??= conclusion;
    return true;
  }

  /** The run fails. This replaces an earlier conclusion or stall. */
  fail(conclusion: Conclusion): void {
    this.#conclusion = conclusion;
    this.#stall = null;
  }

  /** Returns false when the run was already decided. */
  stallFor(stall: ReportedStall): boolean {
    if (this.isDecided) return false;
    this.#stall = stall;
    return true;
  }

  release(reason: LeavingReason): void {
    this.#release ??= reason;
  }

  /** Clears the reason for the release, so that the next activation of the run is not released. */
  endActivation(): void {
    this.#release = null;
  }

  /** How the run leaves, for the next report; null when it does not leave, or not yet. */
  next({ isBusy, isRecording, isWaiting }: Progress): Next | null {
    if (this.#conclusion !== null) return { type: "finish", outcome: this.#conclusion };
    if (this.#stall !== null && !isBusy) return { type: "stall", stall: this.#stall };
    // At a shutdown, a run that only waits is suspended: a value in the server's answer may let its handler finish.
    const isSuspended = isWaiting && this.#stall === null && this.#release === "shutdown";
    if (this.#release === null || isBusy || isRecording || isSuspended) return null;
    return { type: "release", reason: this.#release };
  }
}
