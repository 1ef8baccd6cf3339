import type { ClaimedRun } from "@aikirun/lib/protocol";
import type { Calls } from "./calls.ts";
import type { ReplayScheduler } from "./replay-scheduler.ts";

/** One execution of a run: what its durable calls use. */
export interface Replay {
  /** The run as it was first claimed, without its journal. The current fence is `scheduler.fence`. */
  readonly run: ClaimedRun;
  /** Whether the run had any entries when it was claimed. */
  readonly isBegun: boolean;
  readonly scheduler: ReplayScheduler;
  readonly calls: Calls;
}
