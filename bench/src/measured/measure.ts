/** One measurement in its own process. Its argument is a `MeasurementOrder`. Prints its figures as JSON. */

import { parseOrder } from "./arguments.ts";
import { yardstick } from "./yardstick.ts";

const { workload, mode, size, engines } = parseOrder(process.argv[2] ?? "");
const before = await yardstick(mode, engines, size.yardstickMs);
const figures = await workload.measure({ mode, engines }, size);
const after = await yardstick(mode, engines, size.yardstickMs);
process.stdout.write(`${JSON.stringify({ yardstick: (before + after) / 2, figures })}\n`);
process.exit(0);
