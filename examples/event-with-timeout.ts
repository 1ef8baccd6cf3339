/** Early, late and repeated events are neither lost nor delivered twice. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

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
    return { early: early.by, none: none.timedOut, late: late.timedOut ? "timed out" : late.data.by };
  },
});

await embedded(async (aiki, startWorker) => {
  const handle = await approvalV1.start(aiki, undefined);
  await handle.events.approved.send({ by: "ada" }, { referenceId: "click-1" });
  await handle.events.approved.send({ by: "ada" }, { referenceId: "click-1" });

  await startWorker(approval);
  await noticed;
  await handle.events.approved.send({ by: "grace" }, { referenceId: "click-2" });
  prove("an event per reference id reaches one wait, and a late event reaches the next wait", await handle.result(), {
    early: "ada",
    none: true,
    late: "grace",
  });
});
