/** A scenario that many tests share, with a server and a worker that takes over the runs of killed workers. */

import type { Running } from "./processes.ts";
import { openScenario, type RestartableServer, type Scenario } from "./scenario.ts";
import type { Topology } from "./topology.ts";

export interface RecoveryScenario {
  scenario: Scenario;
  server: RestartableServer;
  rescuer: Running;
}

export async function openRecoveryScenario(topology: Topology): Promise<RecoveryScenario> {
  const scenario = await openScenario(topology);
  const server = await scenario.serve();
  const rescuer = scenario.worker({ url: server.url, suffixes: [], slots: 100 });
  await rescuer.prints(/working/);
  return { scenario, server, rescuer };
}
