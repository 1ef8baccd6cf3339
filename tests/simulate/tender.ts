/** After the faults: gives every run what only people can give it. */

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
  mirror: Mirror;
}

export class Tender {
  readonly #options: TenderOptions;
  #mended = 0;

  constructor(options: TenderOptions) {
    this.#options = options;
  }

  tend(): void {
    const { mirror, users, nemesis, world } = this.#options;
    let isMisfit = false;
    for (const run of mirror.runs.values()) {
      if (isOver(run)) continue;
      const { state, waits } = run;
      if (state.status === "paused") users.ask(run.id, "resume");
      else if (state.status === "stalled") {
        isMisfit ||= state.reason === "diverged";
        users.ask(run.id, "retry");
      } else if (state.status !== "running") {
        const awaited = new Set(
          waits.flatMap(({ type, name, until }) => (type === "event" && until === null ? [name] : [])),
        );
        for (const name of eventNames) if (awaited.has(name)) users.sendTo(run.id, name);
      }
    }
    if (!isMisfit) return;
    this.#mended += 1;
    world.trace("deploys code that fits");
    if (this.#mended < 50) nemesis.mendCode();
  }
}
