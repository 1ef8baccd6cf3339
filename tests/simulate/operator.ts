/** After all faults have ended: does for every run what only a user can do. */

import type { RunId } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { Fleet } from "./fleet.ts";
import type { Ledger } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { Nemesis } from "./nemesis.ts";
import { eventNames } from "./program.ts";
import { isOver } from "./rules.ts";
import type { Users } from "./users.ts";
import type { World } from "./world.ts";

export interface OperatorOptions {
  world: World;
  users: Users;
  nemesis: Nemesis;
  fleet: Fleet;
  mirror: Mirror;
  ledger: Ledger;
}

/** How often compatible code is deployed, and how often a run is retried, at most. */
const maxAttempts = 50;

export class Operator {
  readonly #options: OperatorOptions;
  #deployments = 0;
  /** How often the operator found each run stalled. */
  readonly #stalls = new Map<RunId, number>();
  /** Runs that were refused as ambiguous although every call has a key, because entries without keys are ambiguous. */
  readonly refusedAgain: Set<RunId> = new Set();

  constructor(options: OperatorOptions) {
    this.#options = options;
  }

  operate(): void {
    const { mirror, users } = this.#options;
    const stalled: Run[] = [];
    for (const run of mirror.runs.values()) {
      if (isOver(run)) continue;
      const { state, waits } = run;
      if (state.status === "paused") users.request(run.id, "resume");
      else if (state.status === "stalled") stalled.push(run);
      else if (state.status !== "running") {
        const awaited = new Set(
          waits.flatMap(({ type, name, until }) => (type === "event" && until === null ? [name] : [])),
        );
        for (const name of eventNames) if (awaited.has(name)) users.sendTo(run.id, name);
      }
    }
    this.#deployFixes(stalled);
    for (const run of stalled) this.#retry(run);
  }

  /** Deploys code that fits the runs that stalled because of their code. */
  #deployFixes(stalled: readonly Run[]): void {
    const { nemesis, world } = this.#options;
    const stalledBy = (reason: string) =>
      stalled.flatMap(({ id, state }) => (state.status === "stalled" && state.reason === reason ? [id] : []));
    nemesis.deployKeys(stalledBy("ambiguous_call"));
    if (!stalledBy("diverged").some((id) => nemesis.incompatible.has(id))) return;
    this.#deployments += 1;
    world.trace("deploys code that fits");
    if (this.#deployments < maxAttempts) nemesis.deployCompatible();
  }

  /** Retries a run, or cancels it and retries the cancelled run. */
  #retry({ id, state, options }: Run): void {
    const { users, fleet, ledger } = this.#options;
    const times = (this.#stalls.get(id) ?? 0) + 1;
    this.#stalls.set(id, times);
    const isRefused = ledger.wasRefused(id) && state.status === "stalled" && state.reason !== "crash_loop";
    const isKeyed = fleet.code.keyed.has(ledger.identity.family(id));
    if (isRefused && isKeyed && times > 2) this.refusedAgain.add(id);
    else if (times < maxAttempts) {
      users.request(id, "retry");
      return;
    }
    users.request(id, "cancel");
    if (options.retryOf === undefined) users.request(id, "retry");
  }
}
