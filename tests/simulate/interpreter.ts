/** The workflow that executes programs, written with the public packages. Each worker process has its own. */

import type { RunHandle } from "@aikirun/lib";
import { type Workflow, workflow } from "@aikirun/workflow";
import { type Interpreted, type Tasks, tasksOf } from "./bodies.ts";
import {
  type CallSignal,
  codeOf,
  events,
  type OpOf,
  ProgramCalls,
  type ProgramEvents,
  type ProgramInput,
  type ProgramRun,
  type ProgramVersion,
} from "./calls.ts";
import { edited, editOf } from "./code.ts";
import type { Op } from "./program.ts";
import { shapeOf } from "./shapes/list.ts";
import { stageOf } from "./stage.ts";
import { isPlain, orderOf } from "./timing.ts";

export type ProgramHandle = RunHandle<string, ProgramEvents>;

export function programWorkflow(interpreted: Interpreted): { workflow: Workflow; version: ProgramVersion } {
  const tasks = tasksOf(interpreted);
  const program = workflow({ name: "program" });
  const version: ProgramVersion = program.v("1.0.0", {
    events,
    handler: (run: ProgramRun, input: ProgramInput) => execute(interpreted, tasks, version, run, input),
  });
  return { workflow: program, version };
}

function execute(
  interpreted: Interpreted,
  tasks: Tasks,
  version: ProgramVersion,
  run: ProgramRun,
  { program, label }: ProgramInput,
): Promise<string> {
  const { ledger, code, process } = interpreted;
  const edit = code.edits.get(run.id);
  const order = orderOf(program.ops);
  // With a new build, a replay waits only briefly for recorded calls, and then matches calls by order.
  const isOther = code.build > 0 && isPlain(program.ops);
  const isKeyed = program.isKeyed || code.keyed.has(ledger.identity.family(run.id));
  const execution = ledger.begin({
    runId: run.id,
    attempt: run.attempt,
    process,
    isKeyed,
    code: editOf(code, run.id, ledger.identity.family(run.id)),
    order: order === "kept" && isOther ? "lock" : order,
    hasPlain: isPlain(program.ops),
    isShuffled: isOther || ledger.identity.isShuffled(run.id),
  });
  const isKeyedFirst = program.isKeyed;
  const calls = new ProgramCalls({ interpreted, tasks, version, run, label, isKeyed, isKeyedFirst, execution });
  const interpreter = new Interpreter(calls);
  return execution.points.run(async () =>
    ledger.conclude(execution, await interpreter.all(edited(program.ops, edit), { within: "", signal: null })),
  );
}

/** The scope of a list of calls: their path, and the signal that withdraws them. */
interface CallScope {
  within: string;
  signal: CallSignal;
}

/** One execution of one program. */
class Interpreter {
  readonly #calls: ProgramCalls;

  constructor(calls: ProgramCalls) {
    this.#calls = calls;
  }

  async all(ops: readonly Op[], scope: CallScope): Promise<string[]> {
    const seen: string[] = [];
    for (const op of ops) seen.push(...(await this.#one(op, `${scope.within}${op.type}${op.id}`, scope)));
    return seen;
  }

  async #one(op: Op, path: string, { signal }: CallScope): Promise<string[]> {
    const calls = this.#calls;
    switch (op.type) {
      case "task":
      case "step":
        return [await calls.body(path, op, signal)];
      case "sleep":
        return [await calls.sleep(path, op.ms, op.name, signal)];
      case "wait":
        return [await calls.wait(path, op, signal)];
      case "child":
        return [await calls.child(path, op, signal)];
      case "join":
        return this.#join(op, path, signal);
      case "attempt":
        return this.all(op.body, { within: `${path}/`, signal }).catch((thrown) => [`caught ${codeOf(thrown)}`]);
      case "loop":
        return this.#loop(op, path, signal);
      case "throw":
        if (calls.attempt <= op.attempts) throw new Error(`throw${op.id}`);
        return [];
      case "clock":
        return [calls.clock(path)];
      case "random":
        return [calls.random(path)];
      case "uuid":
        return [calls.uuid(path)];
      case "plain":
        await calls.plain(op.id % 5);
        return [];
      case "shape":
        return shapeOf(op.shape).run(stageOf(calls, op.plain, path));
      default:
        return op satisfies never;
    }
  }

  async #loop({ times, body }: OpOf<"loop">, path: string, signal: CallSignal): Promise<string[]> {
    const seen: string[] = [];
    for (let round = 0; round < times; round++) {
      seen.push(...(await this.all(body, { within: `${path}.${round}/`, signal })));
    }
    return seen;
  }

  async #join({ how, branches }: OpOf<"join">, path: string, signal: CallSignal): Promise<string[]> {
    const within = `${path}/`;
    if (how === "map") {
      const each = async (index: number) => (await this.all(branches[index] ?? [], { within, signal })).join(" ");
      return this.#calls.map(path, branches.length, 1 + (branches.length % 3), each);
    }
    /** The result names the branch that won. */
    const rival = (index: number) => async (own: CallSignal) => [
      `branch ${index}`,
      ...(await this.all(branches[index] ?? [], { within, signal: own })),
    ];
    const rivals = branches.map((_, index) => rival(index));
    const begin = () => branches.map((branch) => this.all(branch, { within, signal }));
    switch (how) {
      case "all":
        return (await Promise.all(begin())).flat();
      case "race":
        return Promise.race(rivals.map((run) => run(signal)));
      case "any":
        return Promise.any(rivals.map((run) => run(signal)));
      case "runRace":
      case "runAny":
        return this.#calls.race(how, rivals);
      case "allSettled":
        return (await Promise.allSettled(begin())).flatMap((end) =>
          end.status === "fulfilled" ? end.value : [codeOf(end.reason)],
        );
      default:
        return how satisfies never;
    }
  }
}
