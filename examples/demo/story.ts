import { type Paint, timelineLine } from "@aikirun/cli";
import type { Api, Entry, RunView } from "@aikirun/lib/protocol";
import type { ReportedEffect } from "./work.ts";

/** Prints the progress of a run: what workers do, and what is recorded. */
export class DemoStory {
  readonly effects: Array<ReportedEffect & { worker: string }> = [];
  readonly entries: Entry[] = [];
  run: RunView | null = null;
  readonly #api: Api;
  readonly #paint: Paint;
  #turn: Promise<void> = Promise.resolve();

  constructor(api: Api, paint: Paint) {
    this.#api = api;
    this.#paint = paint;
  }

  say(who: string, what: string): void {
    console.log(`${this.#paint("bold", who.padStart(9))}  ${what}`);
  }

  /** Prints that a task begins, after everything that was recorded before it. */
  effect(worker: string, effect: ReportedEffect): Promise<void> {
    return this.#inTurn(() => {
      const before = this.effects.findLast(({ task }) => task === effect.task);
      this.effects.push({ ...effect, worker });
      this.say(worker, `  runs ${effect.task}${why(effect, before)}`);
    });
  }

  /** Prints what was recorded since the last call. */
  follow(runId: string): Promise<void> {
    return this.#inTurn(() => {}, runId);
  }

  #inTurn(then: () => void, runId: string | undefined = this.run?.id): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      if (runId !== undefined) await this.#catchUp(runId);
      then();
    });
    return this.#turn;
  }

  async #catchUp(runId: string): Promise<void> {
    const after = this.entries.at(-1)?.seq ?? 0;
    const [result] = (await this.#api.read({ runs: [{ runId, entries: { after, limit: 1_000 } }] })).results;
    if (result?.ok !== true) throw new Error(`The run cannot be read: ${result?.message}`);
    this.run = result.run;
    for (const entry of result.entries) {
      this.entries.push(entry);
      console.log(timelineLine(this.#paint, "recorded".padStart(9), entry));
      if (entry.value.type === "marked" && entry.value.mark === "recovered") this.#showReplay();
    }
  }

  /** Prints that the next worker replays the handler, and which calls it does not execute again. */
  #showReplay(): void {
    const names = this.entries.flatMap(({ value, address }) =>
      value.type === "returned" ? [address.split(":")[1] ?? address] : value.type === "received" ? [value.name] : [],
    );
    this.say(
      "replay",
      `  the handler starts again from its first line and gets the recorded results of: ${names.join(", ")}`,
    );
  }
}

function why(effect: ReportedEffect, before: (ReportedEffect & { worker: string }) | undefined): string {
  if (before === undefined) return "";
  if (before.attempt !== effect.attempt) return `, attempt ${effect.attempt}: the previous one failed`;
  return ` AGAIN: ${before.worker} was killed before its result was recorded`;
}
