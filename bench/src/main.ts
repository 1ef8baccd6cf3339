/**
 * `npm run bench -- [--quick] [--only W1,W2] [--mode in-process|http] [--repeat N]`: every workload several times, each
 * in a fresh process with the yardstick measured before and after it; medians as a table and as JSON.
 */

import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { isMode } from "./arguments.ts";
import { median } from "./figures.ts";
import type { Mode } from "./stack.ts";
import { type Row, table } from "./table.ts";
import { workloads } from "./workloads.ts";

const run = promisify(execFile);
const script = fileURLToPath(new URL("./measure.ts", import.meta.url));
const results = new URL("../results/", import.meta.url);

interface Measured {
  yardstick: number;
  figures: Record<string, number>;
}

async function measureOnce(name: string, mode: Mode, size: string): Promise<Measured> {
  const { stdout } = await run(process.execPath, [...process.execArgv, script, name, mode, size], {
    maxBuffer: 10_000_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

async function measure(name: string, mode: Mode, size: string, repeat: number): Promise<Row[]> {
  const all: Measured[] = [];
  for (let n = 0; n < repeat; n++) {
    all.push(await measureOnce(name, mode, size));
  }
  const names = new Set(all.flatMap(({ figures }) => Object.keys(figures)));
  return [...names].map((figure) => {
    const values = all.flatMap(({ figures }) => figures[figure] ?? []);
    const ratios = all.flatMap(({ figures, yardstick }) => (figures[figure] ?? Number.NaN) / yardstick);
    return {
      figure,
      mode,
      median: median(values),
      min: Math.min(...values),
      max: Math.max(...values),
      yardstick: median(all.map(({ yardstick }) => yardstick)),
      ratio: figure.startsWith("W1") ? median(ratios) : null,
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
const modes: Mode[] = values.mode !== undefined && isMode(values.mode) ? [values.mode] : ["in-process", "http"];

const rows: Row[] = [];
for (const { name } of workloads) {
  for (const mode of only === undefined || only.includes(name) ? modes : []) {
    process.stderr.write(`${name} ${mode} …\n`);
    rows.push(...(await measure(name, mode, size, repeat)));
  }
}
process.stdout.write(table(rows));
await mkdir(results, { recursive: true });
const report = { node: process.version, cores: cpus().length, size, repeat, rows };
await writeFile(new URL("latest.json", results), `${JSON.stringify(report, null, 2)}\n`);
