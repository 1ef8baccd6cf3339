/** Short names of runs, for readable traces. */

import type { RunId } from "@aikirun/lib/protocol";

export class Names {
  readonly #names = new Map<RunId, string>();

  give(id: RunId, name: string): void {
    if (!this.#names.has(id)) this.#names.set(id, name);
  }

  of(id: RunId): string {
    return this.#names.get(id) ?? `run …${id.slice(-6)}`;
  }
}
