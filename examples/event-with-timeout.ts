/** Events wait for the handler and it waits for them: early, late and repeated ones are neither lost nor doubled. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./stage/embedded.ts";

let notice = () => {};
const noticed = new Promise<void>((resolve) => {
  notice = resolve;
});
const remind = task({ name: "remind", handler: async () => notice() });

const approval = workflow({ name: "approval" });
const approvalV1 = approval.v("1.0.0", {
  events: { approved: event<{ by: string }>() },
  async handler(run) {
    const early = await run.events.approved.wait();
    const none = await run.events.approved.wait({ timeout: { milliseconds: 50 } });
    await remind.start(run, undefined);
    const late = await run.events.approved.wait({ timeout: { days: 3 } });
    return { early: early.by, none: none.timedOut, late: late.timedOut ? "nobody" : late.data.by };
  },
});

await embedded(async (aiki, crew) => {
  const handle = await approvalV1.start(aiki, undefined);
  await handle.events.approved.send({ by: "ada" }, { referenceId: "click-1" });
  await handle.events.approved.send({ by: "ada" }, { referenceId: "click-1" });

  await crew(approval);
  await noticed;
  await handle.events.approved.send({ by: "grace" }, { referenceId: "click-2" });
  prove("one event per reference, each to one wait, a late one to the next wait", await handle.result(), {
    early: "ada",
    none: true,
    late: "grace",
  });
});
