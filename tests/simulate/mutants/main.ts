/** `npm run mutants -- [--quick]`: every breach of a rule must be noticed. */

import { type ChildProcess, spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { type Mutant, mutants } from "./list.ts";
import { openWorkshop, type Workshop } from "./workshop.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    seeds: { type: "string" },
    from: { type: "string", default: "0" },
    /** Only those whose name holds this. */
    only: { type: "string", default: "" },
  },
});

const seeds = Number(values.seeds ?? (values.quick ? 400 : 1_500));
/** One mutant may take so long; one that hangs has been noticed. Milliseconds. */
const patienceMs = values.quick ? 120_000 : 300_000;
/** So many mutants are judged at once: a simulation takes one core. */
const lanes = 2;
/** So many seeds per process: what dies young costs little. */
const batch = 50;

interface Verdict {
  mutant: string;
  killed: boolean;
  /** The seed that killed it, and what it said. */
  seed: string;
  by: string;
  seconds: number;
}

const verdicts: Verdict[] = [];
const waiting = mutants.filter(({ name }) => name.includes(values.only));
await Promise.all(Array.from({ length: lanes }, lane));
const survivors = verdicts.filter(({ killed }) => !killed);
console.log(`${verdicts.length - survivors.length} of ${verdicts.length} mutants killed`);
process.exit(survivors.length === 0 && verdicts.length > 0 ? 0 : 1);

/** Judges one mutant after the other, in a workshop of its own. */
async function lane(): Promise<void> {
  const workshop = await openWorkshop();
  try {
    await healthy(workshop);
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const verdict = await judge(workshop, mutant);
      verdicts.push(verdict);
      const { killed, seed, by, seconds } = verdict;
      console.log(
        `${killed ? "killed  " : "SURVIVED"} ${mutant.name} | seed ${seed} | ${seconds.toFixed(1)} s | ${by}`,
      );
    }
  } finally {
    await workshop.dispose();
  }
}

/** Code that breaks no rule passes; otherwise a verdict would mean nothing. */
async function healthy({ directory }: Workshop): Promise<void> {
  const { output, status } = await run(directory, 0, 10);
  if (status !== 0) throw new Error(`The code itself fails:\n${output.slice(-3_000)}`);
}

async function judge({ directory, alter }: Workshop, mutant: Mutant): Promise<Verdict> {
  const { name, seed: known } = mutant;
  const beganAt = performance.now();
  const restore = await alter(mutant);
  const seconds = () => (performance.now() - beganAt) / 1_000;
  const first = Number(values.from);
  const batches = Array.from({ length: Math.ceil(seeds / batch) }, (_, index) => ({
    from: first + index * batch,
    count: batch,
  }));
  batches.unshift({ from: known, count: 1 });
  try {
    for (const { from, count } of batches) {
      if (seconds() * 1_000 > patienceMs) break;
      const { output, status } = await run(directory, from, count);
      if (status === 0) continue;
      const seed = /--from (\d+) --seeds 1/.exec(output)?.[1];
      if (seed === undefined && status !== "hangs") {
        throw new Error(`The mutant "${name}" does not run:\n${output.slice(-3_000)}`);
      }
      const by = /^[A-Z][A-Z0-9]*: .*$/m.exec(output)?.[0] ?? "it hangs";
      return { mutant: name, killed: true, seed: seed ?? `${from}…`, by: by.slice(0, 110), seconds: seconds() };
    }
    return { mutant: name, killed: false, seed: "none", by: "", seconds: seconds() };
  } finally {
    await restore();
  }
}

function run(directory: string, from: number, count: number): Promise<{ output: string; status: number | "hangs" }> {
  const flags = ["--conditions=@aikirun/source", "--import", "tsx", "tests/simulate/main.ts"];
  const args = [...flags, "--from", String(from), "--seeds", String(count), "--twice", "1000000"];
  const child: ChildProcess = spawn(process.execPath, args, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let isLate = false;
  const keep = (chunk: Buffer) => {
    output += chunk.toString();
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, patienceMs);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ output, status: isLate ? "hangs" : (code ?? 1) });
    });
  });
}
