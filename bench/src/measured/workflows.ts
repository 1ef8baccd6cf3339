/** The measured workflows. Their steps do nothing: the input and the result have about 100 bytes of JSON each. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";

export interface LoadInput {
  n: number;
  text: string;
}

function load(n: number): LoadInput {
  return { n, text: "x".repeat(80) };
}

const step = task({ name: "step", handler: (input: LoadInput) => ({ n: input.n, text: "y".repeat(80) }) });

const steps = workflow({ name: "steps" });
export const stepsV1 = steps.v("1", {
  async handler(run, { count, text }: { count: number; text: string }) {
    let last: LoadInput = { n: 0, text };
    for (let n = 0; n < count; n++) {
      last = await step.start(run, { n, text });
    }
    return last;
  },
});

const fan = workflow({ name: "fan" });
export const fanV1 = fan.v("1", {
  async handler(run, { count }: { count: number }) {
    const all = await Promise.all(Array.from({ length: count }, (_, n) => step.start(run, load(n))));
    return all.length;
  },
});

const naps = workflow({ name: "naps" });
export const napsV1 = naps.v("1", {
  async handler(run, { count }: { count: number }) {
    for (let n = 0; n < count; n++) {
      await step.start(run, load(n));
      if (n % 10 === 9) {
        await run.sleep({ milliseconds: 1 });
      }
    }
    return count;
  },
});

const sleeper = workflow({ name: "sleeper" });
export const sleeperV1 = sleeper.v("1", {
  /** Returns how much later than requested the handler continued after its sleep. Milliseconds. */
  async handler(run, { ms }: { ms: number }) {
    const due = run.now() + ms;
    await run.sleep({ milliseconds: ms });
    return Date.now() - due;
  },
});

const long = workflow({ name: "long" });
export const longV1 = long.v("1", {
  events: { go: event<undefined>() },
  async handler(run, { count }: { count: number }) {
    for (let n = 0; n < count; n++) {
      await step.start(run, load(n));
    }
    await run.events.go.wait();
    return count;
  },
});

/** No worker serves it. The benchmark itself claims its runs. */
const errand = workflow({ name: "errand" });
export const errandV1 = errand.v("1", { handler: async () => null });

export const workflows = [steps, fan, naps, sleeper, long] as const;
