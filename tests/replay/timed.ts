import { event } from "../../packages/workflow/src/definition/event.ts";
import type { WorkflowRun } from "../../packages/workflow/src/definition/run.ts";
import { workflow } from "../../packages/workflow/src/definition/workflow.ts";
import type { RunLedger } from "../../packages/workflow/test/ledger.ts";
import { ReplayRig } from "../../packages/workflow/test/rig.ts";

const events = { stop: event<string>(), go: event<string>() };
export type TimedRun = WorkflowRun<typeof events>;
export type Plain = (name: string) => Promise<void>;

/** A handler with plain (non-durable) work. `delays` sets its duration for each execution. */
export class Timed {
  readonly rig: ReplayRig;
  delays: Record<string, number> = {};

  /** `ledger` is the journal of a run that other code has executed. */
  constructor(handler: (run: TimedRun, plain: Plain) => Promise<unknown>, buildId = "b1", ledger?: RunLedger) {
    const plain: Plain = (name) =>
      new Promise((resolve) => {
        this.rig.env.after(this.delays[name] ?? 0, resolve);
      });
    const version = workflow({ name: "w" }).v("1", {
      events,
      retry: { type: "fixed", maxAttempts: 3, delayMs: 10 },
      handler: (run) => handler(run, plain),
    });
    this.rig = new ReplayRig(version, undefined, { buildId, idleMs: 60_000 }, ledger);
  }

  /** Executes with these delays for `ms`. */
  async execute(delays: Record<string, number>, ms = 5_000): Promise<void> {
    this.delays = delays;
    await this.rig.replay();
    await this.live(ms);
  }

  /** Advances the time. A suspended execution that continues after non-durable work gets its run again. */
  async live(ms: number): Promise<void> {
    const { rig } = this;
    for (let passed = 0; passed < ms; passed += 10) {
      const before = rig.reclaims;
      await rig.env.advance(10);
      if (rig.reclaims > before) await rig.resume();
    }
  }

  /** Kills the worker and executes the run from its journal with other delays. */
  async again(delays: Record<string, number>, ms = 5_000): Promise<void> {
    this.rig.kill();
    this.rig.ledger.status = "queued";
    await this.execute(delays, ms);
  }

  async elapse(ms: number): Promise<void> {
    await this.live(ms);
    this.rig.ledger.tick();
  }
}
