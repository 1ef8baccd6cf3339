/** The workloads W1 to W8. Each opens its own stack and returns figures by name. */

import { fillBacklog } from "./backlog.ts";
import { median, percentile } from "./figures.ts";
import { listsAmong } from "./listed.ts";
import type { Sizes } from "./sizes.ts";
import { type BenchSetting, openStack, type Stack, type Use } from "./stack.ts";
import { errandV1, fanV1, longV1, napsV1, sleeperV1, stepsV1 } from "./workflows.ts";

export type Figures = Record<string, number>;

export interface Workload {
  name: string;
  measure(setting: BenchSetting, size: Sizes): Promise<Figures>;
}

async function withStack<T>(
  setting: BenchSetting,
  concurrency: number,
  work: (stack: Stack) => Promise<T>,
): Promise<T> {
  const stack = await openStack(setting);
  try {
    if (concurrency > 0) {
      await stack.startWorker(concurrency);
    }
    return await work(stack);
  } finally {
    await stack.close();
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

const megabyte = 1_048_576;
const stepsPerRun = 5;

async function throughput(setting: BenchSetting, size: Sizes): Promise<Figures> {
  const figures: Figures = {};
  for (const concurrency of [50, 200]) {
    await withStack(setting, concurrency, async (stack) => {
      await manyRuns(stack, size.warmUp);
      const before = await useOf(stack);
      const ms = await timed(() => manyRuns(stack, size.runs));
      const after = await useOf(stack);
      figures[`W1 steps/s at ${concurrency}`] = (size.runs * stepsPerRun * 1_000) / ms;
      for (const [index, who] of ["server", "worker"].entries()) {
        const [was, is] = [before[index], after[index]];
        if (was !== undefined && is !== undefined) {
          figures[`W1 ${who} CPU us per run at ${concurrency}`] = (cpuOf(is) - cpuOf(was)) / size.runs;
        }
      }
    });
  }
  return figures;
}

/** Resident memory after the first 2,000 runs of a process. */
function memoryAfterRuns(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return withStack(setting, 50, async (stack) => {
    await manyRuns(stack, size.remembered);
    const [server, worker] = await useOf(stack);
    const figures: Figures = { [`W6 MB after ${size.remembered} runs`]: (worker.rss + (server?.rss ?? 0)) / megabyte };
    return server === undefined ? figures : { ...figures, "W6 of these the server's MB": server.rss / megabyte };
  });
}

/** The use of this process, which is worker and client, and of the server if it has its own process. */
async function useOf(stack: Stack): Promise<[Use | undefined, Use]> {
  const own = { rss: process.memoryUsage().rss, cpu: process.cpuUsage() };
  return [(await stack.serverUse()) ?? undefined, own];
}

function cpuOf({ cpu }: Use): number {
  return cpu.user + cpu.system;
}

async function manyRuns({ aiki }: Stack, count: number): Promise<void> {
  const input = { count: stepsPerRun, text: "x".repeat(80) };
  const handles = await Promise.all(Array.from({ length: count }, () => stepsV1.start(aiki, input)));
  await Promise.all(handles.map((handle) => handle.result()));
}

async function runSteps({ aiki }: Stack, count: number): Promise<void> {
  const handle = await stepsV1.start(aiki, { count, text: "x".repeat(80) });
  await handle.result();
}

function latency(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return withStack(setting, 10, async (stack) => {
    const all: number[] = [];
    for (let n = 0; n < size.singles + 20; n++) {
      const ms = await timed(() => runSteps(stack, 1));
      if (n >= 20) {
        all.push(ms);
      }
    }
    return { "W2 p50 ms": percentile(all, 50), "W2 p95 ms": percentile(all, 95), "W2 p99 ms": percentile(all, 99) };
  });
}

function fanOut(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return withStack(setting, 10, async ({ aiki }) => {
    const all: number[] = [];
    for (let n = 0; n < size.fans + 3; n++) {
      const ms = await timed(async () => (await fanV1.start(aiki, { count: 100 })).result());
      if (n >= 3) {
        all.push(ms);
      }
    }
    return { "W3 100 parallel steps ms": percentile(all, 50) };
  });
}

/** Measures short and long histories in turn, so that neither profits more from a warm process. */
function longHistory(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return withStack(setting, 10, async (stack) => {
    const figures: Figures = {};
    const [short = 0] = size.history;
    const most = size.history.at(-1) ?? 0;
    const kinds = {
      "": (count: number) => runSteps(stack, count),
      " with sleeps": async (count: number) => (await napsV1.start(stack.aiki, { count })).result(),
    };
    for (const [kind, run] of Object.entries(kinds)) {
      const rates = new Map<number, number[]>(size.history.map((count) => [count, []]));
      await run(short);
      for (const count of [...size.history, ...size.history, ...size.history]) {
        const ms = await timed(() => run(count));
        rates.get(count)?.push((count * 1_000) / ms);
      }
      for (const [count, all] of rates) {
        figures[`W4 ${count} steps${kind}, steps/s`] = median(all);
      }
      const rate = (count: number) => figures[`W4 ${count} steps${kind}, steps/s`] ?? Number.NaN;
      figures[`W4 long against short${kind}`] = rate(most) / rate(short);
    }
    return figures;
  });
}

/** The time from the event to the result, on a worker that must replay the run. */
function coldReplay(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return withStack(setting, 0, async (stack) => {
    const stop = await stack.startWorker(1);
    const handle = await longV1.start(stack.aiki, { count: size.replayed });
    await handle.waitFor("awaiting_event");
    await stop();
    await stack.startWorker(1);
    const ms = await timed(async () => {
      await handle.events.go.send();
      await handle.result();
    });
    return { [`W4 cold replay of ${size.replayed} ms`]: ms };
  });
}

/** The time from the requested end of a sleep of one second to the handler's next line. Medians of four cohorts. */
async function wakeUp(setting: BenchSetting, size: Sizes): Promise<Figures> {
  const figures: Figures = {};
  for (const count of size.sleepers) {
    await withStack(setting, 200, async (stack) => {
      const cold = await lateness(stack, count);
      const warm: number[][] = [];
      for (let n = 0; n < 4; n++) {
        warm.push(await lateness(stack, count));
      }
      const of = (percent: number) => median(warm.map((all) => percentile(all, percent)));
      figures[`W5 ${count} sleepers, first of a cold process, p99 ms late`] = percentile(cold, 99);
      figures[`W5 ${count} sleepers, p50 ms late`] = of(50);
      figures[`W5 ${count} sleepers, p99 ms late`] = of(99);
      figures[`W5 ${count} sleepers, earliest ms`] = Math.min(...[cold, ...warm].map((all) => percentile(all, 0)));
    });
  }
  return figures;
}

async function lateness({ aiki }: Stack, count: number): Promise<number[]> {
  const handles = await Promise.all(Array.from({ length: count }, () => sleeperV1.start(aiki, { ms: 1_000 })));
  return Promise.all(handles.map((handle) => handle.result()));
}

/** How much memory grows from a twentieth of the sleeping runs to all of them. Sleeping runs should use no memory. */
function sleepingRuns(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return withStack(setting, 200, async (stack) => {
    const sleep = async (count: number) => {
      for (let started = 0; started < count; started += 500) {
        const month = { ms: 30 * 24 * 60 * 60 * 1_000 };
        const handles = await Promise.all(Array.from({ length: 500 }, () => sleeperV1.start(stack.aiki, month)));
        await Promise.all(handles.map((handle) => handle.waitFor("sleeping")));
      }
    };
    await sleep(size.asleep / 20);
    const before = await useOf(stack);
    await sleep((size.asleep * 19) / 20);
    const after = await useOf(stack);
    const grown = (index: 0 | 1) => ((after[index]?.rss ?? 0) - (before[index]?.rss ?? 0)) / megabyte;
    return {
      [`W6 worker MB more with ${size.asleep} asleep`]: grown(1),
      ...(after[0] === undefined ? {} : { [`W6 server MB more with ${size.asleep} asleep`]: grown(0) }),
    };
  });
}

/** Claims of one run, and timers, without and with many queued and finished runs. */
function backlog(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return setting.mode.database === "sqlite" ? Promise.resolve({}) : withStack(setting, 0, behindOthers(size));
}

function behindOthers({ singles, backlog }: Sizes): (stack: Stack) => Promise<Figures> {
  return async (stack) => {
    const claims = async () => {
      const all: number[] = [];
      for (let n = 0; n < singles; n++) {
        await errandV1.start(stack.aiki);
        all.push(await timed(() => claimOne(stack)));
      }
      return all;
    };
    const ticks = async () => {
      const stop = await stack.startWorker(100);
      const late = await lateness(stack, 100);
      await stop();
      return late;
    };
    await claims();
    const [claimsBefore, ticksBefore] = [await claims(), await ticks()];
    await errandV1.start(stack.aiki);
    await fillBacklog(stack.database, backlog);
    await claims();
    const [claimsAfter, ticksAfter] = [await claims(), await ticks()];
    return {
      "W7 claim p99 ms, empty": percentile(claimsBefore, 99),
      "W7 claim p99 ms, with backlog": percentile(claimsAfter, 99),
      "W7 claim, backlog against empty": percentile(claimsAfter, 99) / percentile(claimsBefore, 99),
      "W7 100 sleepers p99 ms late, empty": percentile(ticksBefore, 99),
      "W7 100 sleepers p99 ms late, with backlog": percentile(ticksAfter, 99),
    };
  };
}

/** Pages of lists for each filter, among many runs. */
function lists(setting: BenchSetting, size: Sizes): Promise<Figures> {
  return setting.mode.name === "postgres" ? withStack(setting, 0, listsAmong(size.listed)) : Promise.resolve({});
}

async function claimOne({ aiki }: Stack): Promise<void> {
  const { runs } = await aiki.api.claim({
    claimId: aiki.env.id(),
    session: aiki.env.id(),
    worker: "bench",
    serves: [{ name: errandV1.name, versionId: errandV1.versionId }],
    shardKeys: [],
    limit: 1,
    leaseMs: 60_000,
    waitMs: 0,
  });
  if (runs.length !== 1) throw new Error("A claim returned no run although one is queued.");
}

export const workloads: readonly Workload[] = [
  { name: "W1", measure: throughput },
  { name: "W2", measure: latency },
  { name: "W3", measure: fanOut },
  { name: "W4", measure: longHistory },
  { name: "W4-replay", measure: coldReplay },
  { name: "W5", measure: wakeUp },
  { name: "W6-runs", measure: memoryAfterRuns },
  { name: "W6", measure: sleepingRuns },
  { name: "W7", measure: backlog },
  { name: "W8", measure: lists },
];
