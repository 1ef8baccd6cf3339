import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { work } from "./work.ts";

const chargeCard = task({
  name: "charge-card",
  async handler(order: { orderId: string; cents: number }, context) {
    await work("charge-card", context, 100);
    return { receipt: `r-${order.orderId}`, cents: order.cents };
  },
});

const reserveStock = task({
  name: "reserve-stock",
  retry: { type: "fixed", maxAttempts: 3, delayMs: 400 },
  async handler(_: { orderId: string }, context) {
    await work("reserve-stock", context, 100);
    if (context.attempt === 1) throw new Error("the warehouse is busy");
    return { shelf: "B7" };
  },
});

const packParcel = task({
  name: "pack-parcel",
  async handler(_: { shelf: string }, context) {
    await work("pack-parcel", context, 1_000);
    return { parcel: "p-1" };
  },
});

const bookCourier = task({
  name: "book-courier",
  async handler(_: { parcel: string }, context) {
    await work("book-courier", context, 100);
    return { tracking: "AIKI-42" };
  },
});

const thankCustomer = task({
  name: "thank-customer",
  async handler(_: { tracking: string }, context) {
    await work("thank-customer", context, 50);
  },
});

export const shipWorkflow = workflow({ name: "ship" });

const shipWorkflowV1 = shipWorkflow.v("1.0.0", {
  handler: (run, input: { parcel: string }) => bookCourier.start(run, input),
});

export const orderWorkflow = workflow({ name: "order" });

export const orderWorkflowV1 = orderWorkflow.v("1.0.0", {
  events: { approved: event<{ by: string }>() },
  async handler(run, order: { orderId: string; cents: number }) {
    const { receipt } = await chargeCard.start(run, order);
    const { shelf } = await reserveStock.start(run, { orderId: order.orderId });
    const { by } = await run.events.approved.wait();
    const { parcel } = await packParcel.start(run, { shelf });
    const shipment = await shipWorkflowV1.startAsChild(run, { parcel });
    const { tracking } = await shipment.result();
    await run.sleep({ seconds: 1 });
    await thankCustomer.start(run, { tracking });
    return { receipt, tracking, approvedBy: by };
  },
});
