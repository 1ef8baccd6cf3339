/** `npm run simulate -- --seeds N [--from S] [--storage memory|sqlite] [--verbose]` */

import { parseArgs } from "node:util";
import { forbidRealTime } from "./no-real-time.ts";
import { type SimulationOutcome, simulate } from "./simulation.ts";
import { openerOf } from "./storages.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "500" },
    from: { type: "string", default: "0" },
    storage: { type: "string", default: "memory" },
    verbose: { type: "boolean", default: false },
    /** One of this many seeds is run twice, to check that the simulation is deterministic. */
    twice: { type: "string", default: "25" },
    /** Continues after a failure, and prints one line for each failed seed. */
    all: { type: "boolean", default: false },
  },
});

const from = Number(values.from);
const to = from + Number(values.seeds);
const open = openerOf(values.storage);
const startedAt = performance.now();
const totals = { runs: 0, steps: 0, effects: 0, commits: 0 };
const injected = new Map<string, number>();
const stalled = new Map<string, number>();
let refusedAgain = 0;
let repeats = 0;
let mistakes = 0;
let failures = 0;

process.on("exit", (code) => {
  // If a promise never settles, Node exits with 13 and no message.
  if (code === 13)
    console.log(`FAILED: the simulation waits for a promise that never settles, after ${totals.runs} runs`);
});
forbidRealTime();
for (let seed = from; seed < to; seed++) {
  const outcome = await simulate(seed, open);
  if ((seed - from) % Number(values.twice) === 0) {
    const again = await simulate(seed, open);
    if (again.digest !== outcome.digest) {
      outcome.violations.push(
        `DETERMINISM: the seed had the digest ${outcome.digest}, and ${again.digest} in a second run`,
      );
    }
  }
  totals.runs += outcome.runs;
  totals.steps += outcome.steps;
  totals.effects += outcome.effects;
  totals.commits += outcome.commits;
  for (const [fault, count] of outcome.injected) injected.set(fault, (injected.get(fault) ?? 0) + count);
  for (const { reason, order } of outcome.stalled) {
    const kind = `${reason} (order ${order})`;
    stalled.set(kind, (stalled.get(kind) ?? 0) + 1);
  }
  refusedAgain += outcome.refusedAgain;
  repeats += outcome.repeats;
  mistakes += outcome.mistakes;
  if (values.verbose) console.log(`seed ${seed}: ${outcome.runs} runs, ${outcome.steps} steps, ${outcome.digest}`);
  if (outcome.violations.length > 0) {
    failures += 1;
    printFailure(outcome);
    if (!values.all) break;
  }
}
const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
const faults = [...injected].map(([fault, count]) => `${fault} ${count}`).join(", ");
console.log(
  `${failures === 0 ? "ok" : "FAILED"}: seeds ${from} to ${to - 1} on ${values.storage}, ${failures} failed; ` +
    `${totals.runs} runs, ${totals.effects} effects, ${totals.commits} commits, ${totals.steps} steps in ${seconds} s`,
);
console.log(`faults: ${faults}`);
const stalls = [...stalled].map(([kind, count]) => `${kind} ${count}`).join(", ");
console.log(`stalled: ${stalls === "" ? "none" : stalls}`);
console.log(
  `refused again with keys: ${refusedAgain}; effects repeated: ${repeats}; ` +
    `results that may belong to another call: ${mistakes}`,
);
process.exit(failures === 0 ? 0 : 1);

function printFailure({ seed, violations, knobs, lines }: SimulationOutcome): void {
  if (values.all) {
    console.log(`seed ${seed}: ${violations[0]}`);
    return;
  }
  for (const line of lines) console.log(line);
  console.log(`knobs: ${JSON.stringify(knobs)}`);
  for (const violation of violations.slice(0, 10)) console.log(violation);
  console.log(`Repeat with: npm run simulate -- --from ${seed} --seeds 1 --storage ${values.storage}`);
}
