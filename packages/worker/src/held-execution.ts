import type { Env, Logger } from "@aikirun/lib";
import type { Address, ReportResult } from "@aikirun/lib/protocol";
import type { ExecutableVersion, Execution, Host, ReportDraft } from "@aikirun/workflow/internal";

/** The functions of an activation that its execution calls. */
export interface ExecutionOwner {
  /** Whether an effect of the handler may begin. */
  readonly mayBegin: boolean;
  /** The handler has made all recorded calls again. May be called at each new call. */
  replayed(): void;
  report(draft: ReportDraft): Promise<ReportResult>;
  /** The suspended handler has continued by itself, so its run must be claimed again. */
  reclaim(): void;
  listen(isListening: boolean): void;
  /** The replay waits for this recorded call; null when it continues. */
  expect(call: Address | null): void;
}

/** A handler's state in memory. It calls the activation of its newest claim. */
export class HeldExecution {
  readonly definition: ExecutableVersion;
  readonly execution: Execution;
  owner: ExecutionOwner;

  constructor(
    owner: ExecutionOwner,
    definition: ExecutableVersion,
    create: (definition: ExecutableVersion, host: Host) => Execution,
    { env, logger }: { env: Env; logger: Logger },
  ) {
    this.owner = owner;
    this.definition = definition;
    this.execution = create(definition, {
      env,
      logger,
      report: (draft) => this.owner.report(draft),
      mayBegin: () => {
        this.owner.replayed();
        return this.owner.mayBegin;
      },
      reclaim: () => this.owner.reclaim(),
      listening: (isListening) => this.owner.listen(isListening),
      expecting: (call) => this.owner.expect(call),
    });
  }
}
