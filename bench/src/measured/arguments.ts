import { type BenchEngines, type Mode, modes } from "./modes.ts";
import { type Sizes, sizes } from "./sizes.ts";
import { type Workload, workloads } from "./workloads.ts";

/** The configuration of one measurement, passed as one JSON argument. */
export interface MeasurementOrder {
  workload: string;
  mode: string;
  size: string;
  engines: BenchEngines;
}

export function parseOrder(text: string): { workload: Workload; mode: Mode; size: Sizes; engines: BenchEngines } {
  const order: MeasurementOrder = JSON.parse(text);
  const workload = workloads.find(({ name }) => name === order.workload);
  const mode = modeNamed(order.mode);
  const size = sizes[order.size];
  if (workload === undefined || size === undefined) {
    throw new Error(`There is no workload ${order.workload}, or no size ${order.size}.`);
  }
  return { workload, mode, size, engines: order.engines };
}

export function modeNamed(name: string): Mode {
  const mode = modes.find((one) => one.name === name);
  if (mode === undefined)
    throw new Error(`There is no mode ${name}: choose one of ${modes.map((one) => one.name).join()}.`);
  return mode;
}
