/** What many scenarios share: a scene, its server, and the worker that takes over what others leave. */

import type { Running } from "./processes.ts";
import { openScene, type Scene, type Seat } from "./scene.ts";
import type { Topology } from "./topology.ts";

export interface FaultPlace {
  scene: Scene;
  seat: Seat;
  rescuer: Running;
}

export async function openPlace(topology: Topology): Promise<FaultPlace> {
  const scene = await openScene(topology);
  const seat = await scene.serve();
  const rescuer = scene.worker({ url: seat.url, suffixes: [], slots: 100 });
  await rescuer.says(/working/);
  return { scene, seat, rescuer };
}
