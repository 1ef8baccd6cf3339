/** The workflows of these tests. A suffix of their names separates scenarios that share processes. */

import { existsSync, writeSync } from "node:fs";
import type { EventDefinition, TaskContext } from "@aikirun/lib";
import { type Task, task } from "@aikirun/task";
import { event, type Workflow, type WorkflowVersion, workflow } from "@aikirun/workflow";
import type { Reach } from "./fault.ts";
import { recordEffect } from "./ledger.ts";

/** What tasks use of their process. */
export interface ProcessWorld {
  ledger: string;
  reach: Reach;
}

/** The sleeps of `order` by address, which the checkers compare with the journal. Milliseconds. */
export const sleeps: Readonly<Record<string, number>> = { "sleep:#0": 80 };

export interface OrderInput {
  /** How long the first task takes. Milliseconds. */
  slowMs?: number;
  /** A file. The gated task returns when it exists. */
  gate?: string;
  gated?: "reserve" | "thank";
}

export interface OrderOutput {
  charged: string;
  packed: string;
  label: string;
  by: string;
  thanked: string;
}

/** How a workflow harms the process that executes it. */
export type Poison = "spin" | "exit" | "throw";

export interface PoisonInput {
  kind: Poison;
  /** A file. When it exists, the workflow is harmless. */
  cure: string;
}

interface Receipt {
  nonce: string;
}

interface StepInput {
  after: string;
  slowMs?: number;
  gate?: string;
}

export interface Programs {
  order: WorkflowVersion<OrderInput, OrderOutput, { approved: EventDefinition<{ by: string }> }>;
  /** Sleeps a day beside a child that sleeps a day. */
  long: WorkflowVersion<void, string, Record<never, never>>;
  poison: WorkflowVersion<PoisonInput, string, Record<never, never>>;
  /** The first attempt of its task never settles, and times out. */
  hang: WorkflowVersion<void, number, Record<never, never>>;
  workflows: Workflow[];
}

/** The workflows with names that end in `suffix`. */
export function programs(suffix: string, world: ProcessWorld): Programs {
  const act = acts(world);
  const [charge, reserve, pack, thank, label] = [
    act("charge"),
    act("reserve"),
    act("pack"),
    act("thank"),
    act("label"),
  ];

  const shipping = workflow({ name: `ship${suffix}` });
  const ship = shipping.v("1.0.0", {
    async handler(run, input: { slow: boolean }) {
      if (input.slow) await run.sleep("at sea", { days: 1 });
      return (await label.start(run, { after: run.id })).nonce;
    },
  });

  const ordering = workflow({ name: `order${suffix}` });
  const order = ordering.v("1.0.0", {
    events: { approved: event<{ by: string }>() },
    async handler(run, { slowMs, gate, gated }: OrderInput): Promise<OrderOutput> {
      const gateOf = (name: string) => (gate !== undefined && gated === name ? { gate } : {});
      world.reach("handler");
      const charged = await charge.start(run, { after: "start", ...(slowMs === undefined ? {} : { slowMs }) });
      const child = await ship.startAsChild(run, { slow: false });
      const held = await reserve.start(run, { after: charged.nonce, ...gateOf("reserve") });
      await run.sleep({ milliseconds: sleeps["sleep:#0"] ?? 0 });
      const { by } = await run.events.approved.wait();
      const packed = await pack.start(run, { after: held.nonce });
      const labelled = await child.result();
      const thanked = await thank.start(run, { after: packed.nonce, ...gateOf("thank") });
      return { charged: charged.nonce, packed: packed.nonce, label: labelled, by, thanked: thanked.nonce };
    },
  });

  const lasting = workflow({ name: `long${suffix}` });
  const long = lasting.v("1.0.0", {
    async handler(run): Promise<string> {
      await charge.start(run, { after: "start" });
      const child = await ship.startAsChild(run, { slow: true });
      await run.sleep("night", { days: 1 });
      return child.result();
    },
  });
  const poisoned = workflow({ name: `poison${suffix}` });
  const poison = poisoned.v("1.0.0", {
    async handler(_run, { kind, cure }: PoisonInput): Promise<string> {
      if (existsSync(cure)) return "cured";
      writeSync(1, `poison ${kind}\n`);
      return take(kind);
    },
  });

  const hanging = workflow({ name: `hang${suffix}` });
  const hang = hanging.v("1.0.0", { handler: (run) => stuck.start(run) });
  return { order, long, poison, hang, workflows: [shipping, ordering, lasting, poisoned, hanging] };
}

const stuck = task({
  name: "stuck",
  timeout: { milliseconds: 300 },
  retry: { type: "fixed", maxAttempts: 2, delayMs: 10 },
  handler: (_: undefined, { attempt }): Promise<number> => (attempt === 1 ? never() : Promise.resolve(attempt)),
});

function take(kind: Poison): Promise<string> {
  switch (kind) {
    case "spin":
      for (;;);
    case "exit":
      process.exit(1);
      break;
    case "throw":
      setTimeout(() => {
        throw new Error("not caught");
      });
      return never();
    default:
      return kind satisfies never;
  }
}

function never<Value>(): Promise<Value> {
  return new Promise(() => {});
}

/** Makes tasks that write one line to the ledger, with a named point before and after it. */
function acts({ ledger, reach }: ProcessWorld): (name: string) => Task<StepInput, Receipt> {
  return (name) =>
    task({
      name,
      async handler({ slowMs = 0, gate }: StepInput, context): Promise<Receipt> {
        reach("effect.before");
        const nonce = effect(ledger, name, context);
        reach("effect.after");
        if (slowMs > 0) await lasting(slowMs);
        if (gate !== undefined) await opened(gate);
        return { nonce };
      },
    });
}

function effect(ledger: string, name: string, { runId, idempotencyKey, attempt, fence }: TaskContext): string {
  const nonce = `${name}-${process.pid}-${process.hrtime.bigint()}`;
  recordEffect(ledger, {
    runId,
    key: idempotencyKey,
    task: name,
    attempt,
    fence,
    pid: process.pid,
    nonce,
    at: Date.now(),
  });
  return nonce;
}

function lasting(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until the test has created the file. */
async function opened(gate: string): Promise<void> {
  while (!existsSync(gate)) await lasting(20);
}
