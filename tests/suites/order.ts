/** An order workflow with a task, a sleep, an event and a child, which uses most features of a server. */

import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import type { Registry } from "@aikirun/workflow/internal";

const charge = task({ name: "charge", handler: async (id: string) => `paid ${id}` });

const parcel = workflow({ name: "parcel" });
const parcelV1 = parcel.v("1.0.0", {
  handler: async (run, id: string) => run.step("pack", async () => `parcel of ${id}`),
});

const order = workflow({ name: "order" });
export const orderV1 = order.v("1.0.0", {
  events: { approved: event<string>() },
  async handler(run, id: string) {
    const paid = await charge.start(run, id);
    await run.sleep({ milliseconds: 50 });
    const approval = await run.events.approved.wait();
    const child = await parcelV1.startAsChild(run, id);
    return `${paid}, approved by ${approval}, sent as ${await child.result()}`;
  },
});

/** Starts a worker that executes orders and parcels. */
export function addOrders(registry: Registry): void {
  registry.add(order).add(parcel);
}
