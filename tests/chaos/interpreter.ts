/** The workflow that executes random programs, written with the public packages. */

import { NonRetryableError, type TaskContext } from "@aikirun/lib";
import { type Task, task } from "@aikirun/task";
import { event, type WorkflowRun, type WorkflowVersion, workflow } from "@aikirun/workflow";
import { recordEffect } from "../end-to-end/ledger.ts";
import { type ChaosOp, type ChaosOutput, type ChaosProgram, noTally, type ProgramTally, tries } from "./program.ts";
import { recordSleep } from "./witness.ts";

/** The files to which a process writes its effects and sleeps. */
export interface ChaosWitness {
  ledger: string;
  sleeps: string;
}

const events = { message: event<{ n: number }>(), optional: event<string>() };
type ChaosEvents = typeof events;
export type ChaosProgramVersion = WorkflowVersion<ChaosProgram, ChaosOutput, ChaosEvents>;

interface ChaosReceipt {
  nonce: string;
}

interface ChaosTaskInput {
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
      case "retry":
        if (this.#run.attempt === 1) throw new Error("the first attempt fails");
        break;
      case "fail":
        throw new NonRetryableError("the program ends with a failure");
      case "cancel": {
        const child = await this.#version.startAsChild(this.#run, {
          ops: [{ type: "sleep", id: 0, ms: dayMs }],
          ending,
        });
        await child.result();
        break;
      }
      default:
        ending satisfies never;
    }
    this.#tally.messages.sort((left, right) => left - right);
    return { tally: this.#tally };
  }

  async #all(ops: readonly ChaosOp[]): Promise<void> {
    for (const op of ops) {
      await this.#one(op);
      await nonDurableWork();
    }
  }

  async #one(op: ChaosOp): Promise<void> {
    const { events } = this.#run;
    switch (op.type) {
      case "task":
        await this.#task(op.id, { failures: op.failures, ms: op.ms });
        this.#tally.tasks += 1;
        return;
      case "failingTask":
        await this.#task(op.id, { failures: tries, ms: 0 }).catch(() => {
          this.#tally.failedTasks += 1;
        });
        return;
      case "sleep":
        await this.#sleep(op.id, op.ms);
        this.#tally.sleeps += 1;
        return;
      case "message":
        this.#tally.messages.push((await events.message.wait({ key: String(op.id) })).n);
        return;
      case "timedEvent":
        await events.optional.wait({ timeout: { milliseconds: op.ms }, key: String(op.id) });
        this.#tally.races += 1;
        return;
      case "race":
        await Promise.race([
          this.#task(op.id, { failures: 0, ms: op.ms }),
          this.#run.sleep(`race-${op.id}`, { milliseconds: op.ms }),
          events.optional.wait({ key: String(op.id) }),
        ]);
        this.#tally.races += 1;
        return;
      case "child": {
        const child = await this.#version.startAsChild(this.#run, op.program, { key: String(op.id) });
        this.#tally.children += (await child.result()).tally.tasks;
        return;
      }
      case "all":
        await Promise.all(op.branches.map((branch) => this.#all(branch)));
        return;
      default:
        op satisfies never;
    }
  }

  #task(id: number, input: ChaosTaskInput): Promise<ChaosReceipt> {
    return taskCalled(`task-${id}`, this.#witness.ledger).start(this.#run, input);
  }

  /** Records when the handler saw the sleep begin and end, apart from the journal. */
  async #sleep(id: number, ms: number): Promise<void> {
    const seen = { runId: this.#run.id, sleep: id, ms };
    recordSleep(this.#witness.sleeps, { ...seen, phase: "begun", at: Date.now() });
    await this.#run.sleep(`sleep-${id}`, { milliseconds: ms });
    recordSleep(this.#witness.sleeps, { ...seen, phase: "ended", at: Date.now() });
  }
}

/** Non-durable work, which takes a different time on every replay. */
async function nonDurableWork(): Promise<void> {
  if (Math.random() < 0.5) return;
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
}

/** Each task of a run has its own name, which identifies its effects in the ledger. */
function taskCalled(name: string, ledger: string): Task<ChaosTaskInput, ChaosReceipt> {
  return task({
    name,
    retry: { type: "fixed", maxAttempts: tries, delayMs: 40 },
    async handler({ failures, ms }: ChaosTaskInput, context): Promise<ChaosReceipt> {
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
