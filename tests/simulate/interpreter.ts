/** The workflow that executes programs, through the packages that users write with; one set per worker process. */

import { NonRetryableError, type RunHandle, type TaskContext } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import { type Task, task } from "@aikirun/task";
import { event, type Workflow, type WorkflowRun, type WorkflowVersion, workflow } from "@aikirun/workflow";
import { type Code, edited, editOf } from "./code.ts";
import type { Execution, Ledger } from "./ledger.ts";
import { expectOutcome } from "./model.ts";
import type { Process } from "./process.ts";
import {
  type Body,
  isTimed,
  type Op,
  type Program,
  stepRetry,
  type TaskName,
  taskPolicies,
  timeoutOf,
  triesOf,
} from "./program.ts";

export interface ProgramInput {
  program: Program;
  /** Tells runs of equal programs apart. */
  label: string;
}

const events = { approved: event<{ id: string }>(), constructor: event<{ id: string }>() };
type ProgramEvents = typeof events;
type ProgramRun = WorkflowRun<ProgramEvents>;
export type ProgramVersion = WorkflowVersion<ProgramInput, string, ProgramEvents>;
export type ProgramHandle = RunHandle<string, ProgramEvents>;

/** What bodies may do to the world. */
export interface Interpreted {
  ledger: Ledger;
  process: Process;
  /** The code that this process was deployed with. */
  code: Code;
  /** Whether a poisonous body still kills. */
  isPoisonous: () => boolean;
  kill: () => void;
}

interface TaskInput {
  label: string;
  op: number;
  body: Body;
}

type Tasks = Record<TaskName, Task<TaskInput, string>>;

export function programWorkflow(interpreted: Interpreted): { workflow: Workflow; version: ProgramVersion } {
  const tasks = tasksOf(interpreted);
  const program = workflow({ name: "program" });
  const version: ProgramVersion = program.v("1.0.0", {
    events,
    handler: (run: ProgramRun, input: ProgramInput) => new Interpreter(interpreted, tasks, version, run, input).run(),
  });
  return { workflow: program, version };
}

function tasksOf(interpreted: Interpreted): Tasks {
  const make = (name: TaskName): Task<TaskInput, string> => {
    const { retry, timeoutMs } = taskPolicies[name];
    return task({
      name,
      retry,
      timeout: { milliseconds: timeoutMs },
      handler: (input: TaskInput, context) => perform(interpreted, `task${input.op}`, input.body, context),
    });
  };
  return { once: make("once"), brief: make("brief"), quick: make("quick"), slow: make("slow") };
}

/** A body: begins in the ledger's sight, and comes to what its program says. */
async function perform(interpreted: Interpreted, op: string, body: Body, context: TaskContext): Promise<string> {
  const { ledger, process } = interpreted;
  const { runId, fence, idempotencyKey } = context;
  const address = idempotencyKey.slice(runId.length + 1);
  const attempt = ledger.attemptOf(runId, process);
  const nonce = `${op}.${ledger.effects.length}`;
  process.world.trace(`${process.name} begins ${op} of ${ledger.world.names.of(runId)}, try ${context.attempt}`);
  ledger.effect({ runId, address, attempt, try: context.attempt, fence, process, op, nonce });
  const ms = "ms" in body ? body.ms : 0;
  if (ms > 0) await after(process, ms);
  switch (body.kind) {
    case "ok":
      return nonce;
    case "flaky":
      if (context.attempt <= body.failures) throw new Error(`${op} fails`);
      return nonce;
    case "fatal":
      throw new NonRetryableError(`${op} fails`);
    case "hang":
      return new Promise(() => {});
    case "poison":
      if (!interpreted.isPoisonous()) return nonce;
      interpreted.kill();
      return new Promise(() => {});
    default:
      return body satisfies never;
  }
}

function after(process: Process, ms: number): Promise<void> {
  return new Promise((resolve) => {
    process.env.after(ms, resolve);
  });
}

/** One execution of one program. */
class Interpreter {
  readonly #context: Interpreted;
  readonly #tasks: Tasks;
  readonly #version: ProgramVersion;
  readonly #run: ProgramRun;
  readonly #input: ProgramInput;
  readonly #execution: Execution;

  constructor(context: Interpreted, tasks: Tasks, version: ProgramVersion, run: ProgramRun, input: ProgramInput) {
    this.#context = context;
    this.#tasks = tasks;
    this.#version = version;
    this.#run = run;
    this.#input = input;
    const code = editOf(context.code, run.id);
    const { process } = context;
    const isOrdered = !isTimed(input.program.ops);
    this.#execution = context.ledger.begin({ runId: run.id, attempt: run.attempt, process, code, isOrdered });
  }

  async run(): Promise<string> {
    const { ledger, code } = this.#context;
    await this.#all(edited(this.#input.program.ops, code.edits.get(this.#run.id)));
    return ledger.conclude(this.#execution);
  }

  async #all(ops: readonly Op[]): Promise<void> {
    for (const op of ops) await this.#one(op);
  }

  async #one(op: Op): Promise<void> {
    switch (op.type) {
      case "task":
      case "step":
        return this.#body(op);
      case "sleep":
        return this.#sleep(op);
      case "wait":
        return this.#wait(op);
      case "child":
        return this.#child(op);
      case "join":
        return this.#join(op);
      case "attempt":
        return this.#all(op.body).catch(() => {});
      case "throw":
        if (this.#run.attempt <= op.attempts) throw new Error(`throw${op.id}`);
        return;
      case "clock":
        return this.#see(op, String(this.#run.now()));
      case "random":
        return this.#see(op, String(this.#run.random()));
      case "uuid":
        return this.#see(op, this.#run.uuid());
      case "plain":
        return op.ms > 0 ? after(this.#context.process, op.ms) : microtasks(op.id % 5);
      default:
        return op satisfies never;
    }
  }

  async #body(op: Extract<Op, { type: "task" | "step" }>): Promise<void> {
    try {
      const nonce = await (op.type === "task" ? this.#task(op) : this.#step(op));
      this.#see(op, nonce, this.#context.ledger.addressOf(nonce));
      this.#expect(op, "returned", nonce);
    } catch (thrown) {
      const code = codeOf(thrown);
      this.#see(op, code);
      this.#expect(op, "threw", code);
      throw thrown;
    }
  }

  #task(op: Extract<Op, { type: "task" }>): Promise<string> {
    return this.#tasks[op.task].start(this.#run, { label: this.#input.label, op: op.id, body: op.body });
  }

  #step(op: Extract<Op, { type: "step" }>): Promise<string> {
    const work = (context: TaskContext) => perform(this.#context, `step${op.id}`, op.body, context);
    const timeout = { milliseconds: timeoutOf(op) };
    return this.#run.step(`step${op.id}`, work, { retry: stepRetry(op.retries), timeout });
  }

  async #sleep({ id, type, ms, name }: Extract<Op, { type: "sleep" }>): Promise<void> {
    const duration = { milliseconds: ms };
    const { wokenEarly } = await (name === null ? this.#run.sleep(duration) : this.#run.sleep(name, duration));
    this.#see({ id, type }, wokenEarly ? "woken" : "slept");
  }

  async #wait({ id, type, event, timeoutMs }: Extract<Op, { type: "wait" }>): Promise<void> {
    const waiter = this.#run.events[event];
    if (timeoutMs === null) {
      this.#see({ id, type }, (await waiter.wait()).id);
      return;
    }
    const result = await waiter.wait({ timeout: { milliseconds: timeoutMs } });
    this.#see({ id, type }, result.timedOut ? "timed out" : result.data.id);
  }

  async #child(op: Extract<Op, { type: "child" }>): Promise<void> {
    const { program, id } = op;
    const label = `${this.#input.label}.c${id}`;
    const options = {
      ...(program.onParentEnd === undefined ? {} : { onParentEnd: program.onParentEnd }),
      ...(program.retry === undefined ? {} : { retry: program.retry }),
    };
    const child = await this.#version.startAsChild(this.#run, { program, label }, options);
    this.#context.ledger.world.names.give(child.id, label);
    this.#context.ledger.childOf(this.#run.id, this.#run.attempt, id, child.id);
    this.#see(op, child.id);
    if (op.then === "await") await this.#childResult(op, child.id, () => child.result());
    if (op.then === "patience") {
      const result = await child.waitFor("completed", { timeout: { milliseconds: op.timeoutMs } });
      this.#see(op, result.reached ? `output ${result.output}` : result.reason);
    }
  }

  async #childResult(op: Op, childId: RunId, result: () => Promise<string>): Promise<void> {
    const { ledger } = this.#context;
    try {
      const output = await result();
      this.#see(op, `output ${output}`);
      ledger.childEnded(childId, output);
    } catch (thrown) {
      this.#see(op, codeOf(thrown));
      ledger.childEnded(childId, codeOf(thrown));
      throw thrown;
    }
  }

  async #join({ how, branches }: Extract<Op, { type: "join" }>): Promise<void> {
    const all = branches.map((branch) => this.#all(branch));
    switch (how) {
      case "all":
        await Promise.all(all);
        return;
      case "race":
        await Promise.race(all);
        return;
      case "any":
        await Promise.any(all);
        return;
      case "allSettled":
        await Promise.allSettled(all);
        return;
      default:
        how satisfies never;
    }
  }

  #see(op: Pick<Op, "type" | "id">, saw: string, address: string | null = null): void {
    this.#context.ledger.observe(this.#execution, { op: `${op.type}${op.id}`, saw, address });
  }

  #expect(op: Extract<Op, { type: "task" | "step" }>, outcome: "returned" | "threw", saw: string): void {
    const { world } = this.#context.ledger;
    const wrong = expectOutcome(op, outcome, saw, {
      tries: triesOf(op),
      timeoutMs: timeoutOf(op),
      late: this.#context.ledger.paused,
    });
    if (wrong !== null) world.violate("MODEL", `${op.type}${op.id} of ${world.names.of(this.#run.id)} ${wrong}`);
  }
}

function codeOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = "code" in thrown ? String(thrown.code) : thrown.name;
  return thrown.cause instanceof Error ? `${code}(${codeOf(thrown.cause)})` : code;
}

async function microtasks(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await null;
}
