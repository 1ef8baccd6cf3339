/** What the rules know of the world besides storage. */

import type { RunId } from "@aikirun/lib/protocol";
import type { Ledger } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { World } from "./world.ts";

export interface Circumstances {
  world: World;
  mirror: Mirror;
  ledger: Ledger;
  maxCrashes: number;
  /** Nothing happens in this world that could cost a worker its run. */
  isGentle: boolean;
  /** Reports that only handed a run back: they prove nothing of the worker's health. */
  releases: ReadonlyMap<string, string>;
  /** Sessions whose workers said that they stop: they leave their runs behind. */
  leaving: ReadonlySet<string>;
  /** Runs that somebody asked to cancel. */
  cancelled: ReadonlySet<RunId>;
  /** Runs that were ever deployed with code that does not fit. */
  misfits: ReadonlySet<RunId>;
  /** Whether workers were replaced by others that have new code. */
  hasDeployed: () => boolean;
  /** Whether that code is known to be other code. */
  hasOtherCode: () => boolean;
}
