/** What many scenarios share: a scene, its server, and the worker that takes over what others leave. */

import type { Running } from "./processes.ts";
import { openScenario, type RestartableServer, type Scenario } from "./scenario.ts";
import type { Topology } from "./topology.ts";

export interface FaultPlace {
  scene: Scenario;
  seat: RestartableServer;
  rescuer: Running;
}

export async function openPlace(topology: Topology): Promise<FaultPlace> {
  const scene = await openScenario(topology);
  const seat = await scene.serve();
  const rescuer = scene.worker({ url: seat.url, suffixes: [], slots: 100 });
  await rescuer.says(/working/);
  return { scene, seat, rescuer };
}
