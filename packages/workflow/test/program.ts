import { event } from "../src/definition/event.ts";
import type { WorkflowRun } from "../src/definition/run.ts";
import type { ExecutableVersion } from "../src/definition/version.ts";
import { workflow } from "../src/definition/workflow.ts";
import { type Gate, gate } from "./rig.ts";

/** A random workflow: durable calls, and combinations of them. */
export type RandomWorkflow =
  | { kind: "step"; name: string; fails: boolean }
  | { kind: "sleep"; ms: number }
  | { kind: "event"; name: "a" | "b"; timeoutMs: number | null }
  | { kind: "child"; awaited: boolean; timeoutMs: number | null }
  | { kind: "now" }
  /** Throws in the first attempt. */
  | { kind: "throw" }
  | { kind: "sequence" | "all" | "race" | "settled"; parts: RandomWorkflow[] };

/** A source of numbers in [0, 1). */
export type Random = () => number;

export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<Item>(random: Random, items: readonly Item[]): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error("nothing to pick from");
  return item;
}

export function randomProgram(random: Random, depth = 3): RandomWorkflow {
  const kinds = depth === 0 ? leaves : ([...leaves, "sequence", "all", "race", "settled"] as const);
  const kind = pick(random, kinds);
  switch (kind) {
    case "step":
      return { kind, name: pick(random, ["x", "y"]), fails: random() < 0.3 };
    case "sleep":
      return { kind, ms: Math.floor(random() * 5_000) };
    case "event":
      return { kind, name: pick(random, ["a", "b"]), timeoutMs: random() < 0.7 ? Math.floor(random() * 5_000) : null };
    case "child":
      return { kind, awaited: random() < 0.7, timeoutMs: random() < 0.5 ? Math.floor(random() * 5_000) : null };
    case "now":
    case "throw":
      return { kind };
    case "sequence":
    case "all":
    case "race":
    case "settled": {
      const parts = Array.from({ length: 2 + Math.floor(random() * 2) }, () => randomProgram(random, depth - 1));
      return { kind, parts };
    }
    default:
      return kind satisfies never;
  }
}

const leaves = ["step", "step", "step", "sleep", "event", "child", "now", "throw"] as const;

const events = { a: event<number>(), b: event<number>() };

const childVersion = workflow({ name: "child" }).v("1", { handler: async (_run, input: number) => input });

/** The program as a workflow; its output lists all values that the handler received. `tries` are the running steps. */
export function versionOf(program: RandomWorkflow, tries: Array<Gate<number>>): ExecutableVersion {
  return workflow({ name: "w" }).v("1", {
    events,
    retry: { type: "fixed", maxAttempts: 2, delayMs: 1_000 },
    async handler(run) {
      const trace: string[] = [];
      await interpret(run, program, trace, tries);
      return [...trace];
    },
  });
}

async function interpret(
  run: WorkflowRun<typeof events>,
  program: RandomWorkflow,
  trace: string[],
  tries: Array<Gate<number>>,
): Promise<void> {
  const part = (inner: RandomWorkflow): Promise<void> => interpret(run, inner, trace, tries);
  switch (program.kind) {
    case "step":
      trace.push(`${program.name}=${await takeStep(run, program, tries)}`);
      return;
    case "sleep":
      trace.push(`slept ${(await run.sleep({ milliseconds: program.ms })).wokenEarly}`);
      return;
    case "event": {
      const { name, timeoutMs } = program;
      const waiter = run.events[name];
      const got =
        timeoutMs === null ? await waiter.wait() : await waiter.wait({ timeout: { milliseconds: timeoutMs } });
      trace.push(`${name}=${JSON.stringify(got)}`);
      return;
    }
    case "child": {
      const child = await childVersion.startAsChild(run, 7);
      trace.push(`child ${child.id}`);
      if (!program.awaited) return;
      const { timeoutMs } = program;
      const got =
        timeoutMs === null
          ? await child.result().catch((error: Error) => error.name)
          : await child.waitFor("completed", { timeout: { milliseconds: timeoutMs } });
      trace.push(`child=${JSON.stringify(got)}`);
      return;
    }
    case "now":
      trace.push(`now ${run.now()}`);
      return;
    case "throw":
      if (run.attempt === 1) throw new Error("the first attempt");
      return;
    case "sequence":
      for (const inner of program.parts) await part(inner);
      return;
    case "all":
      await Promise.all(program.parts.map(part));
      return;
    case "race":
      await Promise.race(program.parts.map(part));
      return;
    case "settled":
      await Promise.allSettled(program.parts.map(part));
      return;
    default:
      return program satisfies never;
  }
}

/** A step whose tries the test ends. If it fails, its retry delay holds the slot, else it would suspend the run. */
async function takeStep(
  run: WorkflowRun<typeof events>,
  { name, fails }: Extract<RandomWorkflow, { kind: "step" }>,
  tries: Array<Gate<number>>,
): Promise<number | string> {
  const work = (): Promise<number> => {
    const running = gate<number>();
    tries.push(running);
    return running.promise;
  };
  const [maxAttempts, delayMs] = fails ? [2, 500] : [3, 1_500];
  const options = { retry: { type: "fixed", maxAttempts, delayMs }, timeout: { hours: 1 } } as const;
  return run.step(name, work, options).catch((error: Error) => error.name);
}
