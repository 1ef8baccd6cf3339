/** W1 to W6 of the performance bars. Each opens a stack of its own and answers with figures by name. */

import { percentile } from "./figures.ts";
import { type Mode, openStack, type Stack } from "./stack.ts";
import { fanV1, longV1, napsV1, sleeperV1, stepsV1 } from "./workflows.ts";

export type Figures = Record<string, number>;

export interface Sizes {
  runs: number;
  singles: number;
  fans: number;
  history: number[];
  replayed: number;
  sleepers: number[];
  parked: number;
}

export const sizes: Record<"full" | "quick", Sizes> = {
  full: {
    runs: 2_000,
    singles: 200,
    fans: 20,
    history: [500, 1_000, 5_000],
    replayed: 10_000,
    sleepers: [100, 1_000],
    parked: 100_000,
  },
  quick: { runs: 400, singles: 50, fans: 5, history: [200, 1_000], replayed: 2_000, sleepers: [100], parked: 5_000 },
};

export interface Workload {
  name: string;
  measure(mode: Mode, size: Sizes): Promise<Figures>;
}

async function withStack<T>(mode: Mode, concurrency: number, work: (stack: Stack) => Promise<T>): Promise<T> {
  const stack = await openStack(mode);
  try {
    if (concurrency > 0) {
      await stack.work(concurrency);
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

async function throughput(mode: Mode, size: Sizes): Promise<Figures> {
  const figures: Figures = {};
  for (const concurrency of [50, 200]) {
    await withStack(mode, concurrency, async (stack) => {
      const { aiki } = stack;
      await Promise.all(Array.from({ length: size.runs / 2 }, () => runSteps(stack, stepsPerRun)));
      const ms = await timed(async () => {
        const handles = await Promise.all(
          Array.from({ length: size.runs }, () => stepsV1.start(aiki, { count: stepsPerRun, text: "x".repeat(80) })),
        );
        await Promise.all(handles.map((handle) => handle.result()));
      });
      figures[`W1 steps/s at ${concurrency}`] = (size.runs * stepsPerRun * 1_000) / ms;
      const serverRss = await stack.serverRss();
      figures[`W6 worker RSS MB after W1 at ${concurrency}`] = process.memoryUsage().rss / megabyte;
      if (serverRss !== null) {
        figures[`W6 server RSS MB after W1 at ${concurrency}`] = serverRss / megabyte;
      }
    });
  }
  return figures;
}

async function runSteps({ aiki }: Stack, count: number): Promise<void> {
  const handle = await stepsV1.start(aiki, { count, text: "x".repeat(80) });
  await handle.result();
}

function latency(mode: Mode, size: Sizes): Promise<Figures> {
  return withStack(mode, 10, async (stack) => {
    const all: number[] = [];
    for (let n = 0; n < size.singles * 3; n++) {
      const ms = await timed(() => runSteps(stack, 1));
      if (n >= size.singles * 2) {
        all.push(ms);
      }
    }
    return { "W2 p50 ms": percentile(all, 50), "W2 p95 ms": percentile(all, 95), "W2 p99 ms": percentile(all, 99) };
  });
}

function fanOut(mode: Mode, size: Sizes): Promise<Figures> {
  return withStack(mode, 10, async ({ aiki }) => {
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

function longHistory(mode: Mode, size: Sizes): Promise<Figures> {
  return withStack(mode, 10, async (stack) => {
    const figures: Figures = {};
    await runSteps(stack, 200);
    for (const count of size.history) {
      const ms = await timed(() => runSteps(stack, count));
      figures[`W4 ${count} steps, steps/s`] = (count * 1_000) / ms;
    }
    for (const count of size.history) {
      const ms = await timed(async () => (await napsV1.start(stack.aiki, { count })).result());
      figures[`W4 ${count} steps with sleeps, steps/s`] = (count * 1_000) / ms;
    }
    const [short = 0] = size.history;
    const most = size.history.at(-1) ?? 0;
    const rate = (count: number, kind: string) => figures[`W4 ${count} steps${kind}, steps/s`] ?? Number.NaN;
    figures["W4 long against short"] = rate(most, "") / rate(short, "");
    figures["W4 long against short with sleeps"] = rate(most, " with sleeps") / rate(short, " with sleeps");
    return figures;
  });
}

/** From the event that a worker without memory of the run wakes to, to the result. */
function coldReplay(mode: Mode, size: Sizes): Promise<Figures> {
  return withStack(mode, 0, async (stack) => {
    const stop = await stack.work(1);
    const handle = await longV1.start(stack.aiki, { count: size.replayed });
    await handle.waitFor("awaiting_event");
    await stop();
    await stack.work(1);
    const ms = await timed(async () => {
      await handle.events.go.send();
      await handle.result();
    });
    return { [`W4 cold replay of ${size.replayed} ms`]: ms };
  });
}

/** From the deadline that the server fixed to the handler's next line. */
async function wakeUp(mode: Mode, size: Sizes): Promise<Figures> {
  const figures: Figures = {};
  for (const count of size.sleepers) {
    await withStack(mode, 200, async ({ aiki }) => {
      const sleep = async (ms: number) => {
        const handles = await Promise.all(Array.from({ length: count }, () => sleeperV1.start(aiki, { ms })));
        await Promise.all(handles.map((handle) => handle.waitFor("sleeping")));
        const { results } = await aiki.api.read({ runs: handles.map(({ id }) => ({ runId: id })) });
        const awake = await Promise.all(handles.map((handle) => handle.result()));
        return awake.flatMap((at, index) => {
          const result = results[index];
          const due = result?.ok === true ? result.run.waits[0]?.until : null;
          return typeof due === "number" ? [at - due] : [];
        });
      };
      await sleep(1_000);
      // On a machine too busy to see them asleep within the second, there is nothing to measure: NaN.
      const late = await sleep(1_000);
      figures[`W5 ${count} sleepers, seen asleep`] = late.length;
      figures[`W5 ${count} sleepers, p50 ms late`] = percentile(late, 50);
      figures[`W5 ${count} sleepers, p99 ms late`] = percentile(late, 99);
      figures[`W5 ${count} sleepers, earliest ms`] = percentile(late, 0);
    });
  }
  return figures;
}

/** Memory with many runs at rest, over that with a fifth of them: none of them may live in it. */
function parkedRuns(mode: Mode, size: Sizes): Promise<Figures> {
  return withStack(mode, 0, async ({ aiki, serverRss }) => {
    const rss = async () => ((await serverRss()) ?? process.memoryUsage().rss) / megabyte;
    const start = async (count: number) => {
      for (let started = 0; started < count; started += 500) {
        await Promise.all(
          Array.from({ length: 500 }, () => stepsV1.start(aiki, { count: 1, text: "" }, { delay: { days: 30 } })),
        );
      }
    };
    await start(size.parked / 5);
    const before = await rss();
    await start(size.parked);
    return { [`W6 MB more with ${size.parked} more runs at rest`]: (await rss()) - before };
  });
}

export const workloads: readonly Workload[] = [
  { name: "W1", measure: throughput },
  { name: "W2", measure: latency },
  { name: "W3", measure: fanOut },
  { name: "W4", measure: longHistory },
  { name: "W4-replay", measure: coldReplay },
  { name: "W5", measure: wakeUp },
  { name: "W6", measure: parkedRuns },
];
