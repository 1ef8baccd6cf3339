/** Code that no longer fits a run stops it before anything happens, and says where. A fix and a retry let it go on. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./stage/embedded.ts";

const effects: string[] = [];
const act = task({
  name: "act",
  async handler(what: string) {
    effects.push(what);
    return what;
  },
});

/** Three deploys of one version: only what is done first differs. */
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

await embedded(async (aiki, crew) => {
  const right = deploy("charge");
  const first = await crew(right.order);
  const handle = await right.v1.start(aiki, undefined);
  await handle.waitFor("awaiting_event");
  await first.stop();

  crew.build = "2";
  const second = await crew(deploy("refund").order);
  await handle.events.approved.send({ by: "ada" });
  await handle.waitFor("stalled");
  const { stall } = await handle.view();
  if (stall?.reason !== "diverged") throw new Error("the run should have diverged");
  prove("the stall names the first new call", /^task:act:/.test(stall.call), true);
  prove(
    "and those that nothing asked for",
    stall.unclaimed.map((address) => address.split(":")[0]),
    ["task", "event"],
  );
  await second.stop();

  crew.build = "3";
  await crew(deploy("charge").order);
  await handle.retry();
  prove("after the fix it goes on", await handle.result(), "charge, approved by ada");
  prove("the wrong effect never happened", effects, ["charge"]);
});
