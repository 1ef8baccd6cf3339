/** The workflow that executes programs, through the packages that users write with. */

import { NonRetryableError, type TaskContext } from "@aikirun/lib";
import { type Task, task } from "@aikirun/task";
import { event, type WorkflowRun, type WorkflowVersion, workflow } from "@aikirun/workflow";
import { recordEffect } from "../end-to-end/ledger.ts";
import { type ChaosOp, type ChaosOutput, type ChaosProgram, noTally, type ProgramTally, tries } from "./program.ts";
import { recordNap } from "./witness.ts";

/** Where a process leaves what it did in the world. */
export interface ChaosWitness {
  /** Of effects. */
  ledger: string;
  naps: string;
}

const events = { news: event<{ n: number }>(), whim: event<string>() };
type ChaosEvents = typeof events;
export type ChaosProgramVersion = WorkflowVersion<ChaosProgram, ChaosOutput, ChaosEvents>;

interface ChaosReceipt {
  nonce: string;
}

interface ActInput {
  failures: number;
  ms: number;
}

const dayMs = 86_400_000;

export function programVersion(witness: ChaosWitness) {
  const program = workflow({ name: "program" });
  const version: ChaosProgramVersion = program.v("1.0.0", {
    events,
    retry: { type: "fixed", maxAttempts: 2, delayMs: 50 },
    handler: (run: WorkflowRun<ChaosEvents>, input: ChaosProgram) =>
      new ChaosInterpreter(witness, version, run).run(input),
  });
  return { program, version };
}

/** One execution of one program. */
class ChaosInterpreter {
  readonly #witness: ChaosWitness;
  readonly #version: ChaosProgramVersion;
  readonly #run: WorkflowRun<ChaosEvents>;
  readonly #tally: ProgramTally = noTally();

  constructor(witness: ChaosWitness, version: ChaosProgramVersion, run: WorkflowRun<ChaosEvents>) {
    this.#witness = witness;
    this.#version = version;
    this.#run = run;
  }

  async run({ ops, ending }: ChaosProgram): Promise<ChaosOutput> {
    await this.#all(ops);
    switch (ending) {
      case "return":
        break;
      case "stumble":
        if (this.#run.attempt === 1) throw new Error("stumbled");
        break;
      case "fail":
        throw new NonRetryableError("failed, as it must");
      case "last": {
        const child = await this.#version.startAsChild(this.#run, { ops: [{ type: "nap", id: 0, ms: dayMs }], ending });
        await child.result();
        break;
      }
      default:
        ending satisfies never;
    }
    this.#tally.heard.sort((left, right) => left - right);
    return { tally: this.#tally };
  }

  async #all(ops: readonly ChaosOp[]): Promise<void> {
    for (const op of ops) {
      await this.#one(op);
      await plain();
    }
  }

  async #one(op: ChaosOp): Promise<void> {
    const { events } = this.#run;
    switch (op.type) {
      case "act":
        await this.#act(op.id, { failures: op.failures, ms: op.ms });
        this.#tally.acts += 1;
        return;
      case "doom":
        await this.#act(op.id, { failures: tries, ms: 0 }).catch(() => {
          this.#tally.dooms += 1;
        });
        return;
      case "nap":
        await this.#nap(op.id, op.ms);
        this.#tally.naps += 1;
        return;
      case "hear":
        this.#tally.heard.push((await events.news.wait({ key: String(op.id) })).n);
        return;
      case "patience":
        await events.whim.wait({ timeout: { milliseconds: op.ms }, key: String(op.id) });
        this.#tally.choices += 1;
        return;
      case "race":
        await Promise.race([
          this.#act(op.id, { failures: 0, ms: op.ms }),
          this.#run.sleep(`race-${op.id}`, { milliseconds: op.ms }),
          events.whim.wait({ key: String(op.id) }),
        ]);
        this.#tally.choices += 1;
        return;
      case "child": {
        const child = await this.#version.startAsChild(this.#run, op.program, { key: String(op.id) });
        this.#tally.children += (await child.result()).tally.acts;
        return;
      }
      case "all":
        await Promise.all(op.branches.map((branch) => this.#all(branch)));
        return;
      default:
        op satisfies never;
    }
  }

  #act(id: number, input: ActInput): Promise<ChaosReceipt> {
    return actCalled(`act-${id}`, this.#witness.ledger).start(this.#run, input);
  }

  /** What the handler itself saw of a sleep, whatever the record says. */
  async #nap(id: number, ms: number): Promise<void> {
    const seen = { runId: this.#run.id, nap: id, ms };
    recordNap(this.#witness.naps, { ...seen, phase: "asked", at: Date.now() });
    await this.#run.sleep(`nap-${id}`, { milliseconds: ms });
    recordNap(this.#witness.naps, { ...seen, phase: "woke", at: Date.now() });
  }
}

/** Plain asynchronous work, which takes another time on every replay. */
async function plain(): Promise<void> {
  if (Math.random() < 0.5) return;
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
}

/** Every task of a run has a name of its own, by which the ledger tells its effects apart. */
function actCalled(name: string, ledger: string): Task<ActInput, ChaosReceipt> {
  return task({
    name,
    retry: { type: "fixed", maxAttempts: tries, delayMs: 40 },
    async handler({ failures, ms }: ActInput, context): Promise<ChaosReceipt> {
      const nonce = effect(ledger, name, context);
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
      if (context.attempt <= failures) throw new Error(`${name} fails`);
      return { nonce };
    },
  });
}

function effect(ledger: string, name: string, { runId, idempotencyKey, attempt, fence }: TaskContext): string {
  const nonce = `${name}-${process.pid}-${process.hrtime.bigint()}`;
  const { pid } = process;
  recordEffect(ledger, { runId, key: idempotencyKey, task: name, attempt, fence, pid, nonce, at: Date.now() });
  return nonce;
}
