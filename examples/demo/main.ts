/**
 * Demonstrates Aiki in the terminal: an order completes although its worker is killed in the middle of a task. With
 * `npm start -- --exit` the process ends with the run, with status 0 if the run has completed.
 */

import { setTimeout as pause } from "node:timers/promises";
import { paintFor, timeline } from "@aikirun/cli";
import { client } from "@aikirun/client";
import { isAikiError, silentLogger } from "@aikirun/lib";
import type { RunView } from "@aikirun/lib/protocol";
import { type Listener, type Server, server } from "@aikirun/server";
import { DemoStory } from "./story.ts";
import type { ReportedEffect } from "./work.ts";
import { type DemoWorker, startDemoWorker } from "./worker-process.ts";
import { orderWorkflowV1 } from "./workflows.ts";

const paint = paintFor(process.stdout, process.env);
const timeoutMs = 60_000;

async function main(): Promise<number> {
  console.log(`\n${paint("bold", "Aiki: an order that outlives its worker")}\n`);
  const { aikiServer, database } = await openServer();
  const { url } = await listen(aikiServer);
  const aiki = await client({ server: aikiServer, logger: silentLogger });
  const story = new DemoStory(aiki.api, paint);
  story.say("server", `  on ${url}, runs are stored in ${database}`);
  let remaining: DemoWorker | null = null;
  try {
    const orderId = `o-${Date.now()}`;
    const handle = orderWorkflowV1.start(aiki, { orderId, cents: 4_200 }, { referenceId: orderId });
    const ending = within(timeoutMs, runStory(story, await handle, url));
    remaining = await ending;
    const completed = story.run?.status === "completed";
    conclude(story);
    if (!process.argv.includes("--exit") && completed) await stayUp(url, story.run);
    return completed ? 0 : 1;
  } finally {
    await remaining?.stop();
    await aiki.close();
    await aikiServer.close();
  }
}

type StartedOrder = Awaited<ReturnType<typeof orderWorkflowV1.start>>;

/** Resolves with the remaining worker when the run has ended. */
async function runStory(story: DemoStory, order: StartedOrder, url: string): Promise<DemoWorker> {
  story.say("client", `  started order@1.0.0, run ${order.id}`);
  await story.follow(order.id);
  const following = setInterval(() => void story.follow(order.id), 50);
  try {
    const packing = signalled();
    const first = await join(story, "worker-1", url, ({ task }) => task === "pack-parcel" && packing.fire());
    await order.waitFor("awaiting_event");
    await story.follow(order.id);
    story.say("client", '  sends the event "approved"');
    await order.events.approved.send({ by: "ada" });

    await packing.fired;
    await pause(300);
    await first.kill();
    await story.follow(order.id);
    story.say("you", `  ${paint("red", `kill -9 ${first.pid}`)}: worker-1 is killed in the middle of pack-parcel`);

    const second = await join(story, "worker-2", url, () => {});
    await order.result().catch(() => {});
    await story.follow(order.id);
    return second;
  } finally {
    clearInterval(following);
  }
}

async function join(
  story: DemoStory,
  id: string,
  url: string,
  onEffect: (effect: ReportedEffect) => void,
): Promise<DemoWorker> {
  const demoWorker = await startDemoWorker(id, url, (effect) => {
    void story.effect(id, effect);
    onEffect(effect);
  });
  story.say(id, `  has started in its own process (pid ${demoWorker.pid})`);
  return demoWorker;
}

function conclude({ run, entries, effects }: DemoStory): void {
  if (run === null) return;
  console.log(`\n${paint("bold", "The run's timeline")}\n`);
  for (const line of timeline(run, entries, paint)) console.log(line);
  console.log(`\n${paint("bold", "Which tasks ran more than once, and why")}\n`);
  for (const task of new Set(effects.map((effect) => effect.task))) {
    const runs = effects.filter((effect) => effect.task === task);
    if (runs.length > 1) console.log(`  ${task.padEnd(16)} ${runs.length} times: ${reasonOf(runs)}`);
  }
  const results = entries.filter(({ value }) => value.type === "returned");
  const addresses = new Set(results.map(({ address }) => address));
  console.log(`\n  All other tasks ran once. ${results.length} results are recorded at ${addresses.size} addresses.\n`);
}

function reasonOf(runs: DemoStory["effects"]): string {
  const [first] = runs;
  if (runs.some(({ attempt }) => attempt !== first?.attempt)) {
    return "its first attempt failed, and its retry policy allows another";
  }
  const keys = new Set(runs.map(({ idempotencyKey }) => idempotencyKey));
  const key = keys.size === 1 ? `; each time with the idempotency key …${first?.idempotencyKey.slice(-9)}` : "";
  return `${first?.worker} was killed before its result was recorded${key}`;
}

async function stayUp(url: string, run: RunView | null): Promise<void> {
  const at = url.endsWith(":9090") ? "" : ` --url ${url}`;
  console.log(`The server keeps running. See the run in the dashboard: ${url}/runs/${run?.id}\n`);
  console.log("You can run these commands in another terminal:\n");
  console.log(`  npx aiki runs list${at}`);
  console.log(`  npx aiki why ${run?.id}${at}`);
  console.log("  npm run examples -- first\n\nCtrl-C stops the server.");
  await new Promise((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
}

/** Another server may have the file open, for example an earlier `npm start`. */
async function openServer(): Promise<{ aikiServer: Server; database: string }> {
  for (let count = 1; ; count++) {
    const file = count === 1 ? "aiki.db" : `aiki-${count}.db`;
    try {
      return { aikiServer: await server({ database: `sqlite:${file}`, logger: silentLogger }), database: file };
    } catch (thrown) {
      if (count === 9 || !isAikiError(thrown) || thrown.code !== "DATABASE_LOCKED") throw thrown;
      console.log(`${file} is in use by another Aiki server; this server uses aiki-${count + 1}.db.`);
    }
  }
}

async function listen(aikiServer: Server): Promise<Listener> {
  for (let port = 9_090; ; port++) {
    try {
      return await aikiServer.listen({ port });
    } catch (thrown) {
      if (port === 9_099 || !isAikiError(thrown) || thrown.code !== "PORT_IN_USE") throw thrown;
      console.log(`Port ${port} is in use by another program; trying ${port + 1}.`);
    }
  }
}

function signalled(): { fired: Promise<void>; fire: () => void } {
  let fire = () => {};
  const fired = new Promise<void>((resolve) => {
    fire = resolve;
  });
  return { fired, fire };
}

async function within<Result>(ms: number, work: Promise<Result>): Promise<Result> {
  const late = pause(ms, null, { ref: false }).then(() => {
    throw new Error(`The run did not end within ${ms / 1_000} s.`);
  });
  return Promise.race([work, late]);
}

process.exitCode = await main().catch((thrown: unknown) => {
  console.error(isAikiError(thrown) ? `${thrown.code}: ${thrown.message}` : thrown);
  return 1;
});
