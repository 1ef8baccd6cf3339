/** After the faults: gives every run what only people can give it. */

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

export interface TenderOptions {
  world: World;
  users: Users;
  nemesis: Nemesis;
  fleet: Fleet;
  mirror: Mirror;
  ledger: Ledger;
}

/** So often code that does not fit is mended, and a run is retried as it is. */
const patience = 50;

export class Tender {
  readonly #options: TenderOptions;
  #mended = 0;
  /** How often each run was found stalled. */
  readonly #stalls = new Map<RunId, number>();
  /** Runs refused as ambiguous though every call has a key: what is recorded of them cannot be distinguished. */
  readonly refusedAgain: Set<RunId> = new Set();

  constructor(options: TenderOptions) {
    this.#options = options;
  }

  tend(): void {
    const { mirror, users } = this.#options;
    const stalled: Run[] = [];
    for (const run of mirror.runs.values()) {
      if (isOver(run)) continue;
      const { state, waits } = run;
      if (state.status === "paused") users.ask(run.id, "resume");
      else if (state.status === "stalled") stalled.push(run);
      else if (state.status !== "running") {
        const awaited = new Set(
          waits.flatMap(({ type, name, until }) => (type === "event" && until === null ? [name] : [])),
        );
        for (const name of eventNames) if (awaited.has(name)) users.sendTo(run.id, name);
      }
    }
    this.#mend(stalled);
    for (const run of stalled) this.#retry(run);
  }

  /** Deploys code that fits what stalled because of its code. */
  #mend(stalled: readonly Run[]): void {
    const { nemesis, world } = this.#options;
    const because = (reason: string) =>
      stalled.flatMap(({ id, state }) => (state.status === "stalled" && state.reason === reason ? [id] : []));
    nemesis.deployKeys(because("ambiguous_call"));
    if (!because("diverged").some((id) => nemesis.misfits.has(id))) return;
    this.#mended += 1;
    world.trace("deploys code that fits");
    if (this.#mended < patience) nemesis.mendCode();
  }

  /** Retries a run, or cancels it and tries it again from there. */
  #retry({ id, state, options }: Run): void {
    const { users, fleet, ledger } = this.#options;
    const times = (this.#stalls.get(id) ?? 0) + 1;
    this.#stalls.set(id, times);
    const isRefused = ledger.wasRefused(id) && state.status === "stalled" && state.reason !== "crash_loop";
    const isKeyed = fleet.code.keyed.has(ledger.identity.family(id));
    if (isRefused && isKeyed && times > 2) this.refusedAgain.add(id);
    else if (times < patience) {
      users.ask(id, "retry");
      return;
    }
    users.ask(id, "cancel");
    if (options.retryOf === undefined) users.ask(id, "retry");
  }
}
