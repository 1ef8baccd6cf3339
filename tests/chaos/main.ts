/** `npm run chaos -- [--minutes N] [--seed S] [--topology sqlite|postgres|redis]` */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type DrillOutcome, drill } from "./drill.ts";
import { bestTopology, type TopologyName, topologyNames } from "./engines.ts";

const { values } = parseArgs({
  options: {
    /** How long faults are injected. */
    minutes: { type: "string", default: "2" },
    /** Determines programs and faults, but not the timing of the processes. */
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    /** Default: the one with the most components that this machine has. */
    topology: { type: "string" },
  },
});

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));

const startedAt = performance.now();
const say = (line: string) => {
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  console.log(`${seconds.padStart(6)}  ${line}`);
};

const directory = await mkdtemp(join(tmpdir(), "aiki-chaos-"));
const topology = await chosen(values.topology);
console.log(`chaos: seed ${values.seed}, ${topology}, ${values.minutes} minutes, logs in ${directory}`);
const chaosMs = Number(values.minutes) * 60_000;
const outcome = await drill({ topology, seed: values.seed, chaosMs, directory, say }).catch(brokenOff);
await print(outcome);
process.exit(outcome.violations.length + outcome.missed.length === 0 ? 0 : 1);

function brokenOff(thrown: unknown): DrillOutcome {
  const why = thrown instanceof Error ? thrown.stack : String(thrown);
  return { violations: [`broken off: ${why}`], missed: [], faults: new Map(), seen: new Map() };
}

/** Prints a warning if this machine lacks a component. In CI it throws. */
async function chosen(requested: string | undefined): Promise<TopologyName> {
  const known = topologyNames.find((name) => name === requested);
  if (known !== undefined) return known;
  if (requested !== undefined)
    throw new Error(`--topology must be one of ${topologyNames.join(", ")}. Received ${requested}.`);
  const { name, lacks } = await bestTopology(directory);
  if (lacks.length === 0) return name;
  const sentence = `There is no ${lacks.join(" and no ")} on this machine`;
  if (process.env.CI === "true") throw new Error(`${sentence}: install it (apt install postgresql redis-server).`);
  console.error(`\nNOT TESTED: ${sentence}, so the chaos test runs without.\n`);
  return name;
}

async function print({ violations, missed, faults, seen }: DrillOutcome): Promise<void> {
  console.log("\nfaults injected, and how many of them took effect while work was in flight");
  for (const [name, { done, effective }] of faults)
    console.log(`${String(done).padStart(6)} ${String(effective).padStart(5)}  ${name}`);
  console.log("\nobserved");
  for (const [what, count] of [...seen].sort()) console.log(`${String(count).padStart(6)}  ${what}`);
  console.log("");
  if (violations.length === 0 && missed.length === 0) {
    await rm(directory, { recursive: true, force: true });
    console.log(`ok: seed ${values.seed}, ${topology}`);
    return;
  }
  await writeFile(join(directory, "violations"), violations.join("\n"));
  for (const line of violations.slice(0, 20)) console.log(line.slice(0, 400));
  if (violations.length > 20) console.log(`… ${violations.length} in all`);
  for (const name of missed) console.log(`not passed: this fault never took effect: ${name}`);
  const result = violations.length > 0 ? "FAILED" : "NOT PASSED";
  console.log(`${result}: seed ${values.seed}, ${topology}; logs, ledgers and database are in ${directory}`);
  console.log(`Repeat with: npm run chaos -- --seed ${values.seed} --topology ${topology} --minutes ${values.minutes}`);
}
