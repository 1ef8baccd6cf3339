/** A decided race keeps its winner, even if another process replays it when both contenders have finished. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const slow = task({
  name: "slow-quote",
  async handler(_input: undefined, { signal }) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, 300);
      signal.addEventListener("abort", () => clearTimeout(timer));
    });
    return "slow quote";
  },
});

const quote = workflow({ name: "quote" });
const quoteV1 = quote.v("1.0.0", {
  events: { shown: event(), accepted: event() },
  async handler(run) {
    const pending = slow.start(run, undefined);
    const first = await Promise.race([pending, run.sleep({ milliseconds: 50 }).then(() => "standard price")]);
    await run.events.shown.wait();
    const all = [first, await pending];
    await run.events.accepted.wait();
    return all;
  },
});

await embedded(async (aiki, startWorker) => {
  const before = await startWorker(quote);
  const handle = await quoteV1.start(aiki, undefined);
  await handle.events.shown.send();
  await handle.waitFor("awaiting_event");
  await before.stop();

  await startWorker(quote);
  await handle.events.accepted.send();
  prove("the sleep that won still wins on replay", await handle.result(), ["standard price", "slow quote"]);
});
