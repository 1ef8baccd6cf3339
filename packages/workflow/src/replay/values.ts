import { decode, derivedRandom, derivedUuid, Fields } from "@aikirun/lib/internal";
import { Call } from "./call.ts";
import type { IdentifiedCall } from "./calls.ts";
import { checkKey, keyedContent } from "./content.ts";
import type { Replay } from "./replay.ts";

/** Values that would differ between replays: each is recorded, or derived from the run and the call. */
export class Values {
  readonly #replay: Replay;

  constructor(replay: Replay) {
    this.#replay = replay;
  }

  /** Epoch milliseconds, recorded with the next report. */
  now(options: unknown): number {
    const { calls, scheduler } = this.#replay;
    const identified = this.#identify("now", options);
    const value = calls.observe(identified)?.entry?.value;
    if (value?.type === "observed") return Number(decode(value.data));
    const now = scheduler.host.env.now();
    const call = new Call(identified.made, () => undefined);
    call.address = scheduler.journal.newAddress(identified.made.content);
    const entry = { address: call.address, value: { type: "observed", data: String(now) } } as const;
    call.open = false;
    scheduler.post({ entry, call, seen: true, recorded: null, isDeferred: true });
    return now;
  }

  random(options: unknown): number {
    return derivedRandom(this.#replay.run.origin, this.#replay.calls.derive(this.#identify("random", options)));
  }

  uuid(options: unknown): string {
    return derivedUuid(this.#replay.run.origin, this.#replay.calls.derive(this.#identify("uuid", options)));
  }

  #identify(kind: string, options: unknown = {}): IdentifiedCall {
    const fields = new Fields(options, `options of ${kind}()`, "INVALID_OPTION");
    const key = checkKey(fields.take("key"), `${kind}()`);
    fields.done();
    return this.#replay.calls.identify({ kind, name: null, ...keyedContent(key, null) });
  }
}
