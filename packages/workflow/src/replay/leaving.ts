import type { Next, ReportedStall } from "@aikirun/lib/protocol";
import type { Conclusion } from "./report-answer.ts";

export type ReleaseReason = "shutdown" | "paused";

/** What else goes on in an execution whose run is to leave the worker. */
interface Progress {
  /** Work holds the slot: tries of tasks, short delays. */
  isBusy: boolean;
  /** Something goes on once it is recorded. */
  isRecording: boolean;
  /** The handler awaits durable calls and nothing else. */
  isWaiting: boolean;
}

/** How a run is to leave the worker: its handler has ended, it stalls, or it is to be released. */
export class Leaving {
  #conclusion: Conclusion | null = null;
  #stall: ReportedStall | null = null;
  #release: ReleaseReason | null = null;

  /** How the handler ended. */
  get conclusion(): Conclusion | null {
    return this.#conclusion;
  }

  /** The handler has ended, or the run stalls: nothing is delivered and nothing begins any more. */
  get isDecided(): boolean {
    return this.#conclusion !== null || this.#stall !== null;
  }

  /** No task and no child begins any more. */
  get isReleased(): boolean {
    return this.#release !== null;
  }

  /** Whether the run may stay for the delay before the next try of a task. */
  get mayDelay(): boolean {
    return this.#release === null && this.#stall === null;
  }

  /** False when it does not count: what the handler comes to after a call was refused. */
  conclude(conclusion: Conclusion): boolean {
    if (this.#stall?.reason === "ambiguous_call") return false;
    this.#conclusion ??= conclusion;
    return true;
  }

  /** The run fails, whatever was decided before. */
  fail(conclusion: Conclusion): void {
    this.#conclusion = conclusion;
    this.#stall = null;
  }

  /** False when something was decided before. */
  stallFor(stall: ReportedStall): boolean {
    if (this.isDecided) return false;
    this.#stall = stall;
    return true;
  }

  release(reason: ReleaseReason): void {
    this.#release ??= reason;
  }

  /** A later activation of the run is not released for the same reason. */
  endActivation(): void {
    this.#release = null;
  }

  /** What to report as soon as it may be; null when the run is not to leave, or not yet. */
  next({ isBusy, isRecording, isWaiting }: Progress): Next | null {
    if (this.#conclusion !== null) return { type: "finish", outcome: this.#conclusion };
    if (this.#stall !== null && !isBusy) return { type: "stall", stall: this.#stall };
    // A run that only waits is suspended at a shutdown: a value that comes with the answer may let the handler finish.
    const isSuspended = isWaiting && this.#stall === null && this.#release === "shutdown";
    if (this.#release === null || isBusy || isRecording || isSuspended) return null;
    return { type: "release", reason: this.#release };
  }
}
