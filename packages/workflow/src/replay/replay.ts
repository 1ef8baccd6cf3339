import type { ClaimedRun } from "@aikirun/lib/protocol";
import type { Calls } from "./calls.ts";
import type { ReplayScheduler } from "./replay-scheduler.ts";

/** One run being replayed: what its durable primitives work with. */
export interface Replay {
  /** As it was claimed first, without its journal; the fence moves on, see `scheduler.fence`. */
  readonly run: ClaimedRun;
  /** Whether anything was recorded of the run before. */
  readonly isBegun: boolean;
  readonly scheduler: ReplayScheduler;
  readonly calls: Calls;
}
