/** If code no longer fits a run, the run stalls before any effect and names the calls. It continues after a fix. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const effects: string[] = [];
const act = task({
  name: "act",
  async handler(what: string) {
    effects.push(what);
    return what;
  },
});

/** A deploy of version 1.0.0. Deploys differ in the input of the first task. */
function deploy(first: string) {
  const order = workflow({ name: "order" });
  const v1 = order.v("1.0.0", {
    events: { approved: event<{ by: string }>() },
    async handler(run) {
      await act.start(run, first);
      const { by } = await run.events.approved.wait();
      return `${first}, approved by ${by}`;
    },
  });
  return { order, v1 };
}

await embedded(async (aiki, startWorker) => {
  const right = deploy("charge");
  const first = await startWorker(right.order);
  const handle = await right.v1.start(aiki, undefined);
  await handle.waitFor("awaiting_event");
  await first.stop();

  startWorker.build = "2";
  const second = await startWorker(deploy("refund").order);
  await handle.events.approved.send({ by: "ada" });
  await handle.waitFor("stalled");
  const { stall } = await handle.view();
  if (stall?.reason !== "diverged") throw new Error("the run should have diverged");
  prove("the stall names the first new call", /^task:act:/.test(stall.call), true);
  prove(
    "the stall names the recorded calls that the code did not make",
    stall.unclaimed.map((address) => address.split(":")[0]),
    ["task", "event"],
  );
  await second.stop();

  startWorker.build = "3";
  await startWorker(deploy("charge").order);
  await handle.retry();
  prove("after the fix the run continues", await handle.result(), "charge, approved by ada");
  prove("the wrong effect never happened", effects, ["charge"]);
});
