/** Failed and hanging attempts are repeated with the same idempotency key, up to the maximum of the retry policy. */

import { NonRetryableError, TaskFailedError } from "@aikirun/lib";
import { task } from "@aikirun/task";
import { workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const keys = new Set<string>();
let aborted = false;

const flaky = task({
  name: "flaky",
  async handler(_input: undefined, { attempt, idempotencyKey, signal }) {
    keys.add(idempotencyKey);
    if (attempt === 1) throw new Error("connection reset");
    if (attempt === 2) await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    aborted = attempt === 3;
    return attempt;
  },
  retry: { type: "exponential", maxAttempts: 5, baseDelayMs: 10, maxDelayMs: 1_000 },
  timeout: { milliseconds: 200 },
});

const declined = task({
  name: "declined",
  async handler(): Promise<void> {
    throw new NonRetryableError("this card is stolen");
  },
  retry: { type: "fixed", maxAttempts: 5, delayMs: 10 },
});

const order = workflow({ name: "order" });
const orderV1 = order.v("1.0.0", {
  async handler(run) {
    const attempt = await flaky.start(run, undefined);
    try {
      await declined.start(run, undefined);
    } catch (error) {
      if (!(error instanceof TaskFailedError)) throw error;
      return { attempt, why: error.cause instanceof Error ? error.cause.message : "" };
    }
    return { attempt, why: "it worked" };
  },
});

await embedded(async (aiki, startWorker) => {
  await startWorker(order);
  const handle = await orderV1.start(aiki, undefined);
  const result = await handle.result();
  prove("the third attempt succeeded, and a non-retryable error was not retried", result, {
    attempt: 3,
    why: "this card is stolen",
  });
  prove("every attempt had the same idempotency key", [keys.size, aborted], [1, true]);
});
