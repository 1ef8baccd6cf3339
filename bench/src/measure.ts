/** One measurement in a process of its own: `measure.ts <workload> <mode> <full|quick>` prints its figures as JSON. */

import { isMode, isSize, workloadNamed } from "./arguments.ts";
import { sizes } from "./workloads.ts";
import { oneRowCommits } from "./yardstick.ts";

const [name = "", mode = "", size = ""] = process.argv.slice(2);
const workload = workloadNamed(name);
if (workload === undefined || !isMode(mode) || !isSize(size)) {
  throw new Error("usage: measure.ts <workload> <in-process|http> <full|quick>");
}
const before = await oneRowCommits(size === "full" ? 500 : 200);
const figures = await workload.measure(mode, sizes[size]);
const after = await oneRowCommits(size === "full" ? 500 : 200);
process.stdout.write(`${JSON.stringify({ yardstick: (before + after) / 2, figures })}\n`);
process.exit(0);
