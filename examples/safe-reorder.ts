/** A deploy during a run may reorder and remove finished calls and append new ones. No effect is repeated. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const effects: string[] = [];
const act = task({
  name: "act",
  async handler(input: { what: string }) {
    effects.push(input.what);
    return input.what;
  },
});

const events = { deployed: event() };

const before = workflow({ name: "order" });
const beforeV1 = before.v("1.0.0", {
  events,
  async handler(run) {
    const reserved = await act.start(run, { what: "reserve" });
    const charged = await act.start(run, { what: "charge" });
    await run.events.deployed.wait();
    return [reserved, charged];
  },
});

const after = workflow({ name: "order" });
after.v("1.0.0", {
  events,
  async handler(run) {
    const charged = await act.start(run, { what: "charge" });
    const reserved = await act.start(run, { what: "reserve" });
    await run.events.deployed.wait();
    const shipped = await act.start(run, { what: "ship" });
    return [reserved, charged, shipped];
  },
});

await embedded(async (aiki, startWorker) => {
  const old = await startWorker(before);
  const handle = await beforeV1.start(aiki, undefined);
  await handle.waitFor("awaiting_event");
  await old.stop();

  await startWorker(after);
  await handle.events.deployed.send();
  prove("the new code finishes the old run", await handle.result(), ["reserve", "charge", "ship"]);
  prove("no effect happened twice", effects, ["reserve", "charge", "ship"]);
});
