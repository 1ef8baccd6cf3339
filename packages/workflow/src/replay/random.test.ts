import { describe, expect, it } from "vitest";
import { pick, type Random, type RandomWorkflow, randomFrom, randomProgram, versionOf } from "../../test/program.ts";
import { type Gate, ReplayRig } from "../../test/rig.ts";

const seeds = 600;

/** Applies random events, timers, answers, crashes and releases to the run until it ends. */
async function live(rig: ReplayRig, random: Random, tries: Array<Gate<number>>): Promise<void> {
  const { ledger, env } = rig;
  let crashes = 0;
  let value = 0;
  const crash = async (): Promise<void> => {
    crashes += 1;
    rig.kill();
    tries.length = 0;
    rig.held = random() < 0.3 ? [] : null;
    await rig.replay();
  };
  for (let step = 0; step < 2_000; step++) {
    if (ledger.status === "completed" || ledger.status === "failed") return;
    if (ledger.status === "stalled") throw new Error(`stalled: ${JSON.stringify(rig.end)}`);
    if (ledger.status === "queued" || ledger.status === "paused" || ledger.status === "retrying") {
      tries.length = 0;
      if (random() < 0.5 && ledger.heldTail !== null && rig.execution !== null) await rig.resume();
      else {
        rig.kill();
        await rig.replay();
      }
      continue;
    }
    const action = random();
    if (action < 0.4 && tries.length > 0) {
      const running = pick(random, tries);
      tries.splice(tries.indexOf(running), 1);
      value += 1;
      if (random() < 0.3) running.fail(new Error(`failed ${value}`));
      else running.open(value);
      // Some tries settle together: then the replay scheduler decides their order.
      if (random() < 0.7) await env.settle();
    } else if (action < 0.55) {
      await env.advance(Math.floor(random() * 900));
      ledger.tick();
      if (random() < 0.5) await rig.receiveEntries();
    } else if (action < 0.65) {
      value += 1;
      ledger.event(pick(random, ["a", "b"]), value);
      if (random() < 0.5) await rig.receiveEntries();
    } else if (action < 0.72) {
      ledger.wake();
      await rig.receiveEntries();
    } else if (action < 0.8 && ledger.started.size > 0) {
      const address = pick(random, [...ledger.started.keys()]);
      if (ledger.at(`${address}/result`) === undefined) ledger.childEnds(address, { type: "returned", output: "7" });
      await rig.receiveEntries();
    } else if (action < 0.85) {
      rig.held ??= [];
      await env.settle();
    } else if (action < 0.95) {
      await rig.answer();
      if (random() < 0.3) {
        const held = rig.held ?? [];
        rig.held = null;
        for (const release of held) release();
        await env.settle();
      }
    } else if (action < 0.97) {
      rig.execution?.release(pick(random, ["shutdown", "paused"]));
      await env.settle();
    } else if (crashes < 4) {
      await crash();
    }
  }
  const { status, waits } = ledger;
  throw new Error(`not ended: ${JSON.stringify({ status, waits, end: rig.end, nexts: rig.nexts })}`);
}

/** Replays the journal of an ended run in a new worker. */
async function replayed(rig: ReplayRig, program: RandomWorkflow): Promise<ReplayRig> {
  const again = new ReplayRig(versionOf(program, []));
  again.ledger.entries.push(...rig.ledger.entries);
  again.ledger.inbox = rig.ledger.inbox;
  again.ledger.attempt = rig.ledger.attempt;
  again.env.jump(4_000_000);
  await again.replay();
  return again;
}

describe("random programs", () => {
  it(`random programs end after any faults, and replay as they ran (${seeds} seeds)`, async () => {
    for (let seed = 1; seed <= seeds; seed++) {
      const random = randomFrom(seed);
      const program: RandomWorkflow = { kind: "sequence", parts: [randomProgram(random), randomProgram(random)] };
      const tries: Array<Gate<number>> = [];
      const rig = new ReplayRig(versionOf(program, tries));
      await rig.replay();
      const description = `seed ${seed}: ${JSON.stringify(program)}`;
      await live(rig, random, tries).catch((error: unknown) => {
        throw new Error(`${description}\n${String(error)}`, { cause: error });
      });
      const again = await replayed(rig, program);
      expect({ output: again.output, error: again.ledger.error }, description).toEqual({
        output: rig.output,
        error: undefined,
      });
      expect(again.reports, description).toMatchObject([
        { entries: [], opens: [], starts: [], next: { type: "finish" } },
      ]);
    }
  }, 60_000);
});
