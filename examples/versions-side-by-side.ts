/** A worker serves several versions of a workflow. A run completes on the version with which it started. */

import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const events = { go: event() };
const price = workflow({ name: "price" });

const priceV1 = price.v("1.0.0", {
  events,
  async handler(run, input: { cents: number }) {
    await run.events.go.wait();
    return input.cents;
  },
});

await embedded(async (aiki, startWorker) => {
  await startWorker(price);
  const old = await priceV1.start(aiki, { cents: 100 });
  await old.waitFor("awaiting_event");

  // A worker that registered a workflow serves all versions of it, also those that are added later.
  const priceV2 = price.v("2.0.0", {
    events,
    async handler(run, input: { cents: number; currency: string }) {
      await run.events.go.wait();
      return `${input.cents} ${input.currency}`;
    },
  });
  const young = await priceV2.start(aiki, { cents: 100, currency: "EUR" });

  await young.events.go.send();
  await old.events.go.send();
  prove("the new run completes on version 2.0.0", await young.result(), "100 EUR");
  prove("the old run completes on version 1.0.0 at the same time", await old.result(), 100);
});
