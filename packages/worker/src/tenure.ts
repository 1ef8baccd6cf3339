import { AikiError, type Env, type Logger } from "@aikirun/lib";
import type { Address, ClaimedRun, Report, ReportResult, RunId } from "@aikirun/lib/protocol";
import type { Draft, Execution, Host } from "@aikirun/workflow/internal";
import type { Lease } from "./leases.ts";
import type { Reporter } from "./reporter.ts";

/** What a tenure acts through. */
export interface TenureOptions {
  env: Env;
  logger: Logger;
  report: Reporter;
  isStopping: () => boolean;
  onListening: () => void;
  /** The replay waits for a recorded call, or goes on (null). */
  onExpecting: (tenure: Tenure, call: Address | null) => void;
  /** A parked execution wants its run back. */
  onReclaim: (tenure: Tenure) => void;
}

/** One execution of one run by this worker, over all the claims for which it stays in memory. */
export class Tenure {
  readonly runId: RunId;
  readonly definition: unknown;
  readonly host: Host;
  readonly execution: Execution;
  /** Of the claim under which it runs, or parked. */
  fence: number;
  lease: Lease | null = null;
  isListening = false;
  /** Its run is suspended: what it does now comes to something only once the run is claimed again. */
  isParked = false;
  /** While parked it went on by itself and wants its run back. */
  isStirring = false;
  /** A report by which the run leaves our hands is under way, or was answered so: only that says what became of it. */
  isHandingOver = false;
  /** When this slice began, in monotonic milliseconds. */
  heldAt = 0;
  readonly #report: Reporter;
  #isGivenUp = false;
  #reports = 0;
  #rejectReport: ((error: AikiError) => void) | null = null;

  constructor(
    { id, fence }: ClaimedRun,
    definition: unknown,
    { env, logger, report, isStopping, onListening, onExpecting, onReclaim }: TenureOptions,
    createExecution: (host: Host) => Execution,
  ) {
    this.runId = id;
    this.fence = fence;
    this.definition = definition;
    this.#report = report;
    this.host = {
      env,
      logger,
      report: (draft) => this.#deliver(draft),
      mayBegin: () => !isStopping() && !this.#isGivenUp && this.lease?.isProven === true,
      reclaim: () => {
        this.isStirring = true;
        onReclaim(this);
      },
      listening: (open) => {
        this.isListening = open;
        if (open) {
          onListening();
        }
      },
      expecting: (call) => onExpecting(this, call),
    };
    this.execution = createExecution(this.host);
  }

  get position(): { readonly seen: number; readonly after: number } {
    return this.execution.position;
  }

  /** Goes on under a new claim. */
  begin(fence: number, lease: Lease, heldAt: number): void {
    this.fence = fence;
    this.lease = lease;
    this.heldAt = heldAt;
    this.isListening = false;
    this.isParked = false;
    this.isStirring = false;
    this.isHandingOver = false;
    this.#reports = 0;
  }

  /** The run is no longer ours: nothing more is reported of it. */
  abandon(code: AikiError["code"]): void {
    this.#isGivenUp = true;
    this.#rejectReport?.(new AikiError(code, "The worker gave up on the run.", { ids: { runId: this.runId } }));
    this.execution.abandon(code);
  }

  /** Gives up on the run and hands it back for others. Resolves when the server knows, or cannot be told. */
  async giveBack(code: AikiError["code"]): Promise<void> {
    const { seen, after } = this.position;
    this.abandon(code);
    const next = { type: "release", reason: "shutdown" } as const;
    const report = this.#complete({ seen, after, entries: [], opens: [], starts: [], next });
    await this.#report({ report, isLost: () => this.lease?.isLost !== false }).catch(() => {});
  }

  #complete(draft: Draft): Report {
    this.#reports += 1;
    return { ...draft, reportId: String(this.#reports), runId: this.runId, fence: this.fence };
  }

  #deliver(draft: Draft): Promise<ReportResult> {
    return new Promise((resolve, reject) => {
      this.#rejectReport = reject;
      const { lease } = this;
      const isLost = () => this.#isGivenUp || lease?.isLost !== false;
      this.isHandingOver = draft.next.type !== "continue";
      this.#report({ report: this.#complete(draft), isLost }).then(
        (result) => {
          this.isHandingOver &&= result.ok && result.parked;
          resolve(result);
        },
        (error) => {
          this.isHandingOver = false;
          reject(error);
        },
      );
    });
  }
}
