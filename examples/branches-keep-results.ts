/** Alike steps of parallel branches get their own results on replay, however long non-durable work takes. */

import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const compress = promisify(gzip);
const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const charged: string[] = [];
/** How long work of "ann" takes before her charge. Milliseconds. The second worker has cold caches. */
let coldMs = 0;

const charges = workflow({ name: "charges" });
const chargesV1 = charges.v("1.0.0", {
  events: { accepted: event() },
  async handler(run) {
    const receipts = await Promise.all(
      ["ann", "bob"].map(async (name) => {
        await run.step("price", () => delay(name === "bob" ? 100 : 5));
        if (name === "ann") await Promise.all([compress(name), delay(coldMs)]);
        const receipt = await run.step("charge", () => {
          charged.push(name);
          return `receipt of ${name}`;
        });
        return `${name} -> ${receipt}`;
      }),
    );
    await run.events.accepted.wait();
    return receipts;
  },
});

await embedded(async (aiki, startWorker) => {
  const before = await startWorker(charges);
  const handle = await chargesV1.start(aiki, undefined);
  await handle.waitFor("awaiting_event");
  await before.stop();

  coldMs = 500;
  await startWorker(charges);
  await handle.events.accepted.send();
  const own = ["ann -> receipt of ann", "bob -> receipt of bob"];
  prove(
    "on the replay each customer gets its own receipt, although the work for ann took longer",
    await handle.result(),
    own,
  );
  prove("each customer was charged once", charged.sort(), ["ann", "bob"]);
});
