import { type Logger, silentLogger } from "@aikirun/lib";
import type { ReportResult } from "@aikirun/lib/protocol";
import { type VirtualEnv, virtualEnv } from "@aikirun/testing/virtual-env";
import type { ExecutableVersion } from "../src/definition/version.ts";
import type { ActivationEnd, Execution, Host, ReportDraft } from "../src/replay/contract.ts";
import { createExecution, type ExecutionOptions } from "../src/replay/execution.ts";
import { RunLedger } from "./ledger.ts";

/** A worker with one run, and its server. */
export class ReplayRig {
  readonly env: VirtualEnv = virtualEnv(countedRandom());
  readonly ledger: RunLedger;
  readonly listening: boolean[] = [];
  readonly expecting: Array<string | null> = [];
  logger: Logger = silentLogger;
  execution: Execution | null = null;
  mayBegin = true;
  reclaims = 0;
  /** If not null, answers are held here until `answer` is called. */
  held: Array<() => void> | null = null;
  /** Ends of activations, in order. */
  readonly ends: ActivationEnd[] = [];
  readonly #input: string | undefined;
  readonly #options: ExecutionOptions;
  /** The claim under which the newest execution reports. */
  #claim: { fence: number } = { fence: 0 };
  definition: ExecutableVersion;

  constructor(definition: ExecutableVersion, input?: unknown, options: ExecutionOptions = {}, ledger?: RunLedger) {
    this.ledger = ledger ?? new RunLedger(() => this.env.now());
    this.definition = definition;
    this.#input = JSON.stringify(input);
    this.#options = options;
  }

  /** Claims the run and executes it from its journal, in a worker that has no cached execution. */
  async replay(): Promise<void> {
    const execution = createExecution(this.definition, this.#host(), this.#options);
    this.execution = execution;
    const activation = execution.run(this.ledger.claim(this.#input, null));
    activation.then((end) => this.ends.push(end));
    await this.env.settle();
  }

  /** Claims the run for the execution that is suspended. */
  async resume(): Promise<void> {
    const { execution } = this;
    if (execution === null) throw new Error("nothing is suspended");
    this.#claim.fence = this.ledger.fence + 1;
    const activation = execution.resume(this.ledger.claim(this.#input, this.ledger.heldTail ?? this.ledger.tail));
    activation.then((end) => this.ends.push(end));
    await this.env.settle();
  }

  /** Ends the worker without a request to the server. */
  kill(): void {
    this.execution?.abandon("LEASE_LOST");
    this.execution = null;
    this.ends.length = 0;
  }

  /** Passes new entries to a running execution, as a watch does. */
  async receiveEntries(): Promise<void> {
    const { execution, ledger } = this;
    if (execution === null) return;
    execution.receive(ledger.entries.slice(execution.position.after), ledger.inbox);
    await this.env.settle();
  }

  /** Releases one held answer. */
  async answer(): Promise<void> {
    this.held?.shift()?.();
    await this.env.settle();
  }

  /** Executes, with a replay after every suspension unless `isCached`, moving the clock from deadline to deadline. */
  async toEnd(options: { isCached?: boolean } = {}): Promise<void> {
    await this.replay();
    for (let step = 0; step < 1_000; step++) {
      const { status } = this.ledger;
      if (status === "completed" || status === "failed" || status === "stalled") return;
      if (status === "queued") {
        if (options.isCached === true) await this.resume();
        else await this.replay();
      } else if (status === "retrying") {
        await this.replay();
      } else {
        const deadline = this.ledger.nextDeadline();
        await this.env.advance(deadline === null ? 1_000 : Math.max(0, deadline - this.env.now()));
        this.ledger.tick();
        await this.receiveEntries();
      }
    }
    throw new Error("the run did not end");
  }

  get end(): ActivationEnd | undefined {
    return this.ends.at(-1);
  }

  get output(): unknown {
    return this.ledger.output === undefined ? undefined : JSON.parse(this.ledger.output);
  }

  get reports(): ReportDraft[] {
    return this.ledger.reports;
  }

  /** The `next` of each report, in order. */
  get nexts(): string[] {
    return this.reports.map(({ next }) => next.type);
  }

  #host(): Host {
    const claim = { fence: this.ledger.fence + 1 };
    this.#claim = claim;
    return {
      env: this.env,
      logger: this.logger,
      report: async (draft): Promise<ReportResult> => {
        const result = this.ledger.report(draft, claim.fence);
        if (this.held !== null) await new Promise<void>((resolve) => this.held?.push(resolve));
        return result;
      },
      mayBegin: () => this.mayBegin,
      reclaim: () => {
        this.reclaims += 1;
      },
      expecting: (call) => {
        this.expecting.push(call);
      },
      listening: (open) => {
        this.listening.push(open);
      },
    };
  }
}

/** A different number at each call. */
function countedRandom(): () => number {
  let count = 0;
  return () => {
    count += 1;
    return (count * 0.37) % 1;
  };
}

/** A promise that the test settles. */
export interface Gate<Value> {
  promise: Promise<Value>;
  open: (value: Value) => void;
  fail: (error: unknown) => void;
}

export function gate<Value = void>(): Gate<Value> {
  let open: Gate<Value>["open"] = () => {};
  let fail: Gate<Value>["fail"] = () => {};
  const promise = new Promise<Value>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}
