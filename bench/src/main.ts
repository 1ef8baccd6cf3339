/**
 * `npm run bench -- [--quick] [--only W1,W2] [--mode sqlite,postgres] [--repeat N]`: measures every workload several
 * times, each time in a new process, with a measurement of the baseline before and after it. Prints medians as a table
 * and as JSON.
 */

import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { startEngines } from "./engines.ts";
import { type MeasurementOrder, modeNamed } from "./measured/arguments.ts";
import { median } from "./measured/figures.ts";
import { type Mode, modes } from "./measured/modes.ts";
import { sizes } from "./measured/sizes.ts";
import { workloads } from "./measured/workloads.ts";
import { type FigureRow, table } from "./table.ts";

const run = promisify(execFile);
/** The compiled script, because loading TypeScript would distort the measurement. */
const script = fileURLToPath(new URL("../dist/measure.js", import.meta.url));
const results = new URL("../results/", import.meta.url);

interface Measured {
  baseline: number;
  figures: Record<string, number>;
}

async function measureOnce(order: MeasurementOrder): Promise<Measured> {
  const timeoutMs = sizes[order.size]?.timeoutMs;
  const limits = { timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: 10_000_000 } as const;
  const { stdout } = await run(process.execPath, [script, JSON.stringify(order)], limits).catch((error) => {
    const why = error.killed ? `did not end within ${timeoutMs} ms` : "failed";
    throw new Error(`${order.workload} ${order.mode} ${why}\n${error.stderr}`);
  });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

async function measure(order: MeasurementOrder, repeat: number): Promise<FigureRow[]> {
  const all: Measured[] = [];
  for (let n = 0; n < repeat; n++) {
    all.push(await measureOnce(order));
  }
  const names = new Set(all.flatMap(({ figures }) => Object.keys(figures)));
  return [...names].map((figure) => {
    const values = all.flatMap(({ figures }) => figures[figure] ?? []);
    const ratios = all.flatMap(({ figures, baseline }) => (figures[figure] ?? Number.NaN) / baseline);
    return {
      figure,
      mode: order.mode,
      median: median(values),
      min: Math.min(...values),
      max: Math.max(...values),
      baseline: median(all.map(({ baseline }) => baseline)),
      ratio: figure.startsWith("W1 steps") ? median(ratios) : null,
    };
  });
}

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    mode: { type: "string" },
    repeat: { type: "string" },
  },
});
const size = values.quick ? "quick" : "full";
const repeat = Number(values.repeat ?? (values.quick ? 1 : 3));
const only = values.only?.split(",");
const chosen: readonly Mode[] = values.mode?.split(",").map(modeNamed) ?? modes;

const { engines, stop } = await startEngines(chosen);
const rows: FigureRow[] = [];
try {
  for (const { name } of workloads) {
    for (const mode of only === undefined || only.includes(name) ? chosen : []) {
      process.stderr.write(`${name} ${mode.name} …\n`);
      rows.push(...(await measure({ workload: name, mode: mode.name, size, engines }, repeat)));
    }
  }
} finally {
  await stop();
}
process.stdout.write(table(rows));
await mkdir(results, { recursive: true });
const report = { node: process.version, cores: cpus().length, size, repeat, rows };
await writeFile(new URL("latest.json", results), `${JSON.stringify(report, null, 2)}\n`);
