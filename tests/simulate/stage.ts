/** The calls of a shape, made by one execution. */

import type { ProgramCalls } from "./calls.ts";
import { microtasks } from "./plain.ts";
import { hash } from "./prng.ts";
import type { EffectBody } from "./program.ts";
import type { ShapeStage } from "./shapes/shape.ts";

/** `plain` is the probability of non-durable work at each possible place. */
export function stageOf(calls: ProgramCalls, plain: number, within: string): ShapeStage {
  const at = (path: string) => `${within}/${path}`;
  const step = (path: string, name: string, body: EffectBody) =>
    quiet(calls.body(at(path), { type: "step", id: 0, name, retries: 1, body }));
  const ok = (path: string): EffectBody => ({ kind: "ok", ms: msOf(at(path)) });
  return {
    step: (path, name) => step(path, name, ok(path)),
    failing: (path, name) => step(path, name, { kind: "late", attempts: 1, ms: msOf(at(path)) }),
    task: (path, name) => {
      const alike = { by: "key", name } as const;
      return quiet(calls.body(at(path), { type: "task", id: 0, task: "once", alike, body: ok(path) }));
    },
    sleep: (path, ms, signal) => quiet(calls.sleep(at(path), ms, null, signal ?? null)),
    wait: (path, ms, signal) => quiet(calls.wait(at(path), { event: "approved", timeoutMs: ms }, signal ?? null)),
    race: (rivals) => calls.race("runRace", rivals),
    uuid: (path) => calls.uuid(at(path)),
    random: (path) => calls.random(at(path)),
    now: (path) => calls.clock(at(path)),
    plain: async () => {
      if (calls.chance(plain)) await calls.plain(3);
      else await microtasks(3);
    },
    pause: () => (plain > 0 ? calls.pause() : microtasks(3)),
    attempt: calls.attempt,
    map: (items, concurrency, each) =>
      calls.map(at("map"), items.length, concurrency, (index) => each(items[index] ?? "")),
  };
}

/** How long a body takes: different for each path, so that branches overtake each other. Milliseconds. */
function msOf(path: string): number {
  return [0, 1, 20, 250][Math.abs(hash(path, 7)) % 4] ?? 0;
}

/** Marks the rejection of a call as handled, because the shape may await it later. */
function quiet(call: Promise<string>): Promise<string> {
  call.catch(() => {});
  return call;
}
