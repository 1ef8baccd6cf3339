/** The durable calls of one execution: made with the public packages, and checked when they end. */

import { isAikiError, TaskFailedError } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import { event, type WorkflowRun, type WorkflowVersion } from "@aikirun/workflow";
import { type Interpreted, nameOf, perform, type Tasks, taskInput } from "./bodies.ts";
import type { Observation, SimulatedExecution } from "./execution.ts";
import type { Origin } from "./identity.ts";
import { expectOutcome } from "./model.ts";
import { failureOf } from "./nonce.ts";
import { pause, plainWork } from "./plain.ts";
import { type BodyOp, type Op, type Program, stepRetry, timeoutOf, triesOf } from "./program.ts";

export interface ProgramInput {
  program: Program;
  /** Distinguishes runs of equal programs. */
  label: string;
}

export const events = { approved: event<{ id: string }>(), constructor: event<{ id: string }>() };
export type ProgramEvents = typeof events;
export type ProgramRun = WorkflowRun<ProgramEvents>;
export type ProgramVersion = WorkflowVersion<ProgramInput, string, ProgramEvents>;

/** Withdraws a call when it aborts. */
export type CallSignal = AbortSignal | null;

export type OpOf<Type extends Op["type"]> = Extract<Op, { type: Type }>;

/** What a call needs. */
export interface Calling {
  interpreted: Interpreted;
  tasks: Tasks;
  version: ProgramVersion;
  run: ProgramRun;
  label: string;
  isKeyed: boolean;
  /** Whether the calls had keys in the first deployment. */
  isKeyedFirst: boolean;
  execution: SimulatedExecution;
}

/** Each method takes the path of its call, and resolves with the value that the handler receives. */
export class ProgramCalls {
  readonly #with: Calling;

  constructor(calling: Calling) {
    this.#with = calling;
  }

  get attempt(): number {
    return this.#with.run.attempt;
  }

  async body(path: string, op: BodyOp, signal: CallSignal = null): Promise<string> {
    const { execution, interpreted } = this.#with;
    const name = op.type === "step" ? op.name : (op.alike?.name ?? op.task);
    const origin = { kind: op.type, path, name };
    try {
      const nonce = await (op.type === "task" ? this.#task(path, op, signal) : this.#step(path, op, signal));
      interpreted.ledger.identity.belongs(execution, origin, nonce);
      this.#see({ path, kind: op.type, saw: nonce, nonce });
      const made = interpreted.ledger.identity.maker(nonce)?.attempt ?? this.attempt;
      this.#expect(path, op, "returned", nonce, made);
      return nonce;
    } catch (thrown) {
      this.#rethrowWithdrawn(path, thrown, signal);
      const code = codeOf(thrown);
      const nonce = thrown instanceof TaskFailedError ? failed(thrown) : null;
      if (nonce !== null) interpreted.ledger.identity.belongs(execution, origin, nonce);
      this.#see({ path, kind: op.type, saw: nonce === null ? code : `${code} ${nonce}`, nonce });
      this.#expect(path, op, "threw", code, this.attempt);
      throw thrown;
    }
  }

  #task(path: string, { task, alike, body }: OpOf<"task">, signal: CallSignal): Promise<string> {
    const { tasks, run } = this.#with;
    const by = alike?.by ?? "input";
    this.#point(path, `task:${nameOf(task, by)}:${alike?.name ?? path}`);
    const input = taskInput(path, alike, body);
    return tasks[by][task].start(run, input, this.#options(path, signal));
  }

  #step(path: string, op: OpOf<"step">, signal: CallSignal): Promise<string> {
    const { interpreted, run } = this.#with;
    this.#point(path, `step:${op.name}:`);
    const origin: Origin = { kind: "step", path, name: op.name };
    return run.step(op.name, (context) => perform(interpreted, origin, op.body, context), {
      retry: stepRetry(op.retries),
      timeout: { milliseconds: timeoutOf(op) },
      ...this.#options(path, signal),
    });
  }

  async sleep(path: string, ms: number, name: string | null, signal: CallSignal = null): Promise<string> {
    const { run, interpreted, execution } = this.#with;
    const duration = { milliseconds: ms };
    const called = this.#nameOf(path, name);
    this.#point(path, `sleep:${called ?? ""}:`);
    interpreted.ledger.identity.asked(execution, path);
    const options = signal === null ? {} : { signal };
    const slept = called === null ? run.sleep(duration, options) : run.sleep(called, duration, options);
    const { wokenEarly } = await this.#checkWithdrawn(path, slept, signal);
    return this.#timed(path, "sleep", wokenEarly ? null : ms, wokenEarly ? "woken" : "slept");
  }

  /** If calls have keys, each sleep has a name. A recorded sleep without a name keeps none, unless it was refused. */
  #nameOf(path: string, name: string | null): string | null {
    const { run, isKeyed, isKeyedFirst, interpreted } = this.#with;
    const stays = name !== null && !isKeyedFirst && !interpreted.ledger.wasRefusedAt(run.id, `sleep:${name}`);
    return isKeyed && !stays ? path : name;
  }

  async wait(
    path: string,
    { event: name, timeoutMs }: Pick<OpOf<"wait">, "event" | "timeoutMs">,
    signal: CallSignal = null,
  ): Promise<string> {
    const { run, interpreted, execution } = this.#with;
    const waiter = run.events[name];
    const options = this.#options(path, signal);
    this.#point(path, `event:${name}:`);
    interpreted.ledger.identity.asked(execution, path);
    if (timeoutMs === null) {
      return this.#event(path, name, (await this.#checkWithdrawn(path, waiter.wait(options), signal)).id);
    }
    const waited = waiter.wait({ timeout: { milliseconds: timeoutMs }, ...options });
    const result = await this.#checkWithdrawn(path, waited, signal);
    return result.timedOut
      ? this.#timed(path, "wait", timeoutMs, "timed out")
      : this.#event(path, name, result.data.id);
  }

  #event(path: string, name: string, id: string): string {
    this.#with.interpreted.ledger.identity.bind(this.#with.execution, `event ${name}`, path, id);
    this.#see({ path, kind: "wait", saw: id, nonce: null });
    return id;
  }

  #timed(path: string, kind: "sleep" | "wait", ms: number | null, saw: string): string {
    const { interpreted, execution } = this.#with;
    this.#see({ path, kind, saw, nonce: null });
    const { identity, clockMoved } = interpreted.ledger;
    if (ms !== null && !clockMoved) identity.elapsed(execution, path, ms);
    return saw;
  }

  async child(path: string, { program, alike, then, timeoutMs }: OpOf<"child">, signal: CallSignal): Promise<string> {
    const { version, run, interpreted, execution, isKeyed } = this.#with;
    const { ledger } = interpreted;
    const label = `${this.#with.label}.${alike ?? path}`;
    const options = {
      ...(program.onParentEnd === undefined ? {} : { onParentEnd: program.onParentEnd }),
      ...(program.retry === undefined ? {} : { retry: program.retry }),
      ...(isKeyed ? { key: path } : {}),
    };
    this.#point(path, `child:program:${alike ?? path}`);
    const child = await version.startAsChild(run, { program, label }, options);
    ledger.world.names.give(child.id, `${this.#with.label}.${path}`);
    ledger.childOf(execution, path, child.id);
    this.#see({ path, kind: "child", saw: child.id, nonce: null });
    if (then === "leave") return child.id;
    const given = signal === null ? {} : { signal };
    if (then === "await") return this.#childResult(path, child.id, signal, () => child.result(given));
    ledger.identity.asked(execution, `${path}/end`);
    this.#point(`${path}/end`, `end:${child.id}`);
    const waited = child.waitFor("completed", { timeout: { milliseconds: timeoutMs }, ...given });
    const result = await this.#checkWithdrawn(path, waited, signal);
    const saw = result.reached ? `output ${result.output}` : result.reason;
    this.#see({ path: `${path}/end`, kind: "end", saw, nonce: null });
    if (saw === "timed_out" && !ledger.clockMoved) ledger.identity.elapsed(execution, `${path}/end`, timeoutMs);
    return saw;
  }

  async #childResult(path: string, childId: RunId, signal: CallSignal, result: () => Promise<string>): Promise<string> {
    const { ledger } = this.#with.interpreted;
    this.#point(`${path}/end`, `end:${childId}`);
    try {
      const output = await result();
      this.#see({ path: `${path}/end`, kind: "end", saw: `output ${output}`, nonce: null });
      ledger.childEnded(childId, output);
      return output;
    } catch (thrown) {
      this.#rethrowWithdrawn(path, thrown, signal);
      this.#see({ path: `${path}/end`, kind: "end", saw: codeOf(thrown), nonce: null });
      ledger.childEnded(childId, codeOf(thrown));
      throw thrown;
    }
  }

  clock(path: string): string {
    const { run, isKeyed } = this.#with;
    this.#point(path, "now::");
    return this.#value(path, "clock", String(isKeyed ? run.now({ key: path }) : run.now()));
  }

  random(path: string): string {
    this.#point(path, "random::");
    const options = this.#hasKey("random:") ? { key: path } : {};
    return this.#value(path, "random", String(this.#with.run.random(options)));
  }

  uuid(path: string): string {
    this.#point(path, "uuid::");
    const options = this.#hasKey("uuid:") ? { key: path } : {};
    return this.#value(path, "uuid", this.#with.run.uuid(options));
  }

  /** Whether a derived value has a key. Code of an unfinished run adds one only if the run was refused without it. */
  #hasKey(derived: string): boolean {
    const { run, isKeyed, isKeyedFirst, interpreted } = this.#with;
    return isKeyed && (isKeyedFirst || interpreted.ledger.wasRefusedAt(run.id, derived));
  }

  #value(path: string, kind: "clock" | "random" | "uuid", saw: string): string {
    this.#see({ path, kind, saw, nonce: null });
    return saw;
  }

  /** Non-durable work. Takes `turns` microtasks if it needs no time. */
  plain(turns: number): Promise<void> {
    return plainWork(this.#with.interpreted.process, turns);
  }

  pause(): Promise<void> {
    return pause(this.#with.interpreted.process);
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.#with.interpreted.process.chance.chance(probability);
  }

  map(path: string, count: number, concurrency: number, each: (index: number) => Promise<string>): Promise<string[]> {
    const { run, isKeyed, execution } = this.#with;
    const items = Array.from({ length: count }, (_, index) => index);
    const branch = (index: number) => execution.points.branch(`${path}[${index}]`, () => each(index));
    this.#point(path, "map::");
    return run.map(items, branch, { concurrency, ...(isKeyed ? { key: (index: number) => String(index) } : {}) });
  }

  /** A race in which the signals of the losers abort. */
  race<Result>(how: "runRace" | "runAny", rivals: Array<(signal: AbortSignal) => Promise<Result>>): Promise<Result> {
    const { run } = this.#with;
    return how === "runRace" ? run.race(rivals) : run.any(rivals);
  }

  #options(path: string, signal: CallSignal): { key?: string; signal?: AbortSignal } {
    return { ...(this.#with.isKeyed ? { key: path } : {}), ...(signal === null ? {} : { signal }) };
  }

  async #checkWithdrawn<Result>(path: string, call: Promise<Result>, signal: CallSignal): Promise<Result> {
    try {
      return await call;
    } catch (thrown) {
      this.#rethrowWithdrawn(path, thrown, signal);
      throw thrown;
    }
  }

  /** Rethrows the error of a withdrawn call. Only its signal may have withdrawn it. */
  #rethrowWithdrawn(path: string, thrown: unknown, signal: CallSignal): void {
    if (!isAikiError(thrown) || thrown.code !== "WAIT_WITHDRAWN") return;
    const { world } = this.#with.interpreted.ledger;
    if (signal?.aborted !== true) world.violate("OUTCOME", `${path} was withdrawn although its signal did not abort`);
    throw thrown;
  }

  /** Records that the call is made here. Calls with equal content are alike. */
  #point(path: string, content: string): void {
    const { execution, interpreted, isKeyed } = this.#with;
    const isDerived = content === "random::" || content === "uuid::";
    const isDistinguished = isDerived ? this.#hasKey(content.slice(0, -1)) : isKeyed && !/^(sleep|map):/.test(content);
    const after = execution.observations.at(-1)?.path ?? "";
    execution.points.call(
      path,
      { content: isDistinguished ? path : content, bare: content, after },
      interpreted.process.isInPlain,
    );
  }

  #see(observation: Observation): void {
    this.#with.interpreted.ledger.observe(this.#with.execution, observation);
  }

  #expect(path: string, op: BodyOp, outcome: "returned" | "threw", saw: string, attempt: number): void {
    const { ledger } = this.#with.interpreted;
    if (this.#with.execution.isShuffled) return;
    const allowance = { tries: triesOf(op), timeoutMs: timeoutOf(op), attempt, late: ledger.paused };
    const wrong = expectOutcome(op.body, outcome, saw, allowance);
    if (wrong === null || ledger.identity.isMistake(this.#with.execution, path, null)) return;
    ledger.world.violate("OUTCOME", `${path} of ${ledger.world.names.of(this.#with.run.id)} ${wrong}`);
  }
}

/** The nonce of the body that failed, if the error contains it. */
function failed({ cause }: TaskFailedError): string | null {
  return cause instanceof Error ? failureOf(cause.message) : null;
}

export function codeOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = "code" in thrown ? String(thrown.code) : thrown.name;
  return thrown.cause instanceof Error ? `${code}(${codeOf(thrown.cause)})` : code;
}
