import { type Paint, storyLine } from "@aikirun/cli";
import type { Api, Entry, RunView } from "@aikirun/lib/protocol";
import type { ReportedEffect } from "./work.ts";

/** Tells a run as it happens: what workers do on the left, what is recorded of it on the right. */
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

  /** A task's body begins. What was recorded before it is told before it. */
  effect(worker: string, effect: ReportedEffect): Promise<void> {
    return this.#inTurn(() => {
      const before = this.effects.findLast(({ task }) => task === effect.task);
      this.effects.push({ ...effect, worker });
      this.say(worker, `  runs ${effect.task}${why(effect, before)}`);
    });
  }

  /** Tells what was recorded since the last time. */
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
      console.log(storyLine(this.#paint, "recorded".padStart(9), entry));
      if (entry.value.type === "marked" && entry.value.mark === "recovered") this.#showReplay();
    }
  }

  /** The next worker executes the handler from the top; these calls are answered from the record. */
  #showReplay(): void {
    const names = this.entries.flatMap(({ value, address }) =>
      value.type === "returned" ? [address.split(":")[1] ?? address] : value.type === "received" ? [value.name] : [],
    );
    this.say("replay", `  the handler begins again from the top; not run again, but reused: ${names.join(", ")}`);
  }
}

function why(effect: ReportedEffect, before: (ReportedEffect & { worker: string }) | undefined): string {
  if (before === undefined) return "";
  if (before.attempt !== effect.attempt) return `, try ${effect.attempt}: the one before failed`;
  return ` AGAIN: ${before.worker} died before its result was recorded`;
}
