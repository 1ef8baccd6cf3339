/** What the rules know in addition to the commits. */

import type { RunId } from "@aikirun/lib/protocol";
import type { Ledger } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { World } from "./world.ts";

export interface RuleContext {
  world: World;
  mirror: Mirror;
  ledger: Ledger;
  maxCrashes: number;
  /** No fault of this world may cause a worker to lose its run. */
  isGentle: boolean;
  /** Reports that only released a run, with the reason. They do not prove that the worker is healthy. */
  releases: ReadonlyMap<string, string>;
  /** Sessions of workers that announced that they stop. Others may take their runs. */
  leaving: ReadonlySet<string>;
  /** Runs that a user cancelled. */
  cancelled: ReadonlySet<RunId>;
  /** Runs for which incompatible code was ever deployed. */
  incompatible: ReadonlySet<RunId>;
  /** Whether a deployment has replaced the workers. */
  hasDeployed: () => boolean;
  /** Whether a deployment had another build id. */
  hasOtherCode: () => boolean;
}
