import { decode, derivedRandom, derivedUuid } from "@aikirun/lib";
import type { Replay } from "./replay.ts";

/** What would differ from one replay to the next: recorded, or derived from the run. */
export class Values {
  readonly #replay: Replay;
  #randoms = 0;
  #uuids = 0;

  constructor(replay: Replay) {
    this.#replay = replay;
  }

  /** Epoch milliseconds, recorded with the next report. */
  now(): number {
    const { pump, addresses } = this.#replay;
    const address = addresses.next("now", null, null);
    const entry = pump.journal.take(address);
    if (entry?.value.type === "observed") return Number(decode(entry.value.data));
    const now = pump.host.env.now();
    pump.post({ entry: { address, value: { type: "observed", data: String(now) } }, seen: true, recorded: null });
    return now;
  }

  random(): number {
    return derivedRandom(this.#replay.run.origin, this.#randoms++);
  }

  uuid(): string {
    return derivedUuid(this.#replay.run.origin, this.#uuids++);
  }
}
