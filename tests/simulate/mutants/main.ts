/** `npm run mutants -- [--quick]`: the simulation must detect every mutant. */

import { type ChildProcess, spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { type Mutant, mutants } from "./list.ts";
import { openSourceCopy, type SourceCopy } from "./source-copy.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    seeds: { type: "string" },
    from: { type: "string", default: "0" },
    /** Only mutants whose name contains this text. */
    only: { type: "string", default: "" },
  },
});

const seeds = Number(values.seeds ?? (values.quick ? 400 : 1_500));
/** The time limit of one mutant. A simulation that hangs has detected the mutant. Milliseconds. */
const timeoutMs = values.quick ? 120_000 : 300_000;
/** How many mutants are tested at once. A simulation uses one core. */
const concurrency = 2;
/** Seeds per process. A small number saves time for mutants that are detected early. */
const batch = 50;

interface MutantResult {
  mutant: string;
  killed: boolean;
  /** The seed that detected it, and the violation. */
  seed: string;
  by: string;
  seconds: number;
}

const results: MutantResult[] = [];
const waiting = mutants.filter(({ name }) => name.includes(values.only));
await Promise.all(Array.from({ length: concurrency }, testMutants));
const survivors = results.filter(({ killed }) => !killed);
console.log(`${results.length - survivors.length} of ${results.length} mutants killed`);
process.exit(survivors.length === 0 && results.length > 0 ? 0 : 1);

/** Tests one mutant after the other, in its own copy of the sources. */
async function testMutants(): Promise<void> {
  const copy = await openSourceCopy();
  try {
    await checkUnmodified(copy);
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const result = await testMutant(copy, mutant);
      results.push(result);
      const { killed, seed, by, seconds } = result;
      console.log(
        `${killed ? "killed  " : "SURVIVED"} ${mutant.name} | seed ${seed} | ${seconds.toFixed(1)} s | ${by}`,
      );
    }
  } finally {
    await copy.dispose();
  }
}

/** Checks that the unmodified code passes. Otherwise the results would mean nothing. */
async function checkUnmodified({ directory }: SourceCopy): Promise<void> {
  const { output, status } = await run(directory, 0, 10);
  if (status !== 0) throw new Error(`The unmodified code fails:\n${output.slice(-3_000)}`);
}

async function testMutant({ directory, alter }: SourceCopy, mutant: Mutant): Promise<MutantResult> {
  const { name, seed: known } = mutant;
  const startedAt = performance.now();
  const restore = await alter(mutant);
  const seconds = () => (performance.now() - startedAt) / 1_000;
  const first = Number(values.from);
  const batches = Array.from({ length: Math.ceil(seeds / batch) }, (_, index) => ({
    from: first + index * batch,
    count: batch,
  }));
  batches.unshift({ from: known, count: 1 });
  try {
    for (const { from, count } of batches) {
      if (seconds() * 1_000 > timeoutMs) break;
      const { output, status } = await run(directory, from, count);
      if (status === 0) continue;
      const seed = /--from (\d+) --seeds 1/.exec(output)?.[1];
      if (seed === undefined && status !== "hangs") {
        throw new Error(`The mutant "${name}" does not run:\n${output.slice(-3_000)}`);
      }
      const by = /^[A-Z][A-Z_]*: .*$/m.exec(output)?.[0] ?? "it hangs";
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
  let isTimedOut = false;
  const keep = (chunk: Buffer) => {
    output += chunk.toString();
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const timer = setTimeout(() => {
    isTimedOut = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ output, status: isTimedOut ? "hangs" : (code ?? 1) });
    });
  });
}
