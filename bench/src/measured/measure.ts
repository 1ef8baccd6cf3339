/** One measurement in its own process. Its argument is a `MeasurementOrder`. Prints its figures as JSON. */

import { parseOrder } from "./arguments.ts";
import { baseline } from "./baseline.ts";

const { workload, mode, size, engines } = parseOrder(process.argv[2] ?? "");
const before = await baseline(mode, engines, size.baselineMs);
const figures = await workload.measure({ mode, engines }, size);
const after = await baseline(mode, engines, size.baselineMs);
process.stdout.write(`${JSON.stringify({ baseline: (before + after) / 2, figures })}\n`);
process.exit(0);
