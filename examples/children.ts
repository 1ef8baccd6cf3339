/** Children are separate runs. A handler starts several in parallel, awaits them, and catches their failures. */

import { ChildRunFailedError, NonRetryableError } from "@aikirun/lib";
import { workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const parcel = workflow({ name: "parcel" });
const parcelV1 = parcel.v("1.0.0", {
  async handler(run, input: { to: string }) {
    await run.sleep({ milliseconds: 20 });
    if (input.to === "nowhere") throw new NonRetryableError("no such place");
    return `parcel to ${input.to}`;
  },
});

const shipping = workflow({ name: "shipping" });
const shippingV1 = shipping.v("1.0.0", {
  async handler(run, input: { places: string[] }) {
    const children = await Promise.all(input.places.map((to) => parcelV1.startAsChild(run, { to })));
    const ends = await Promise.allSettled(children.map((child) => child.result()));
    return ends.map((end) => {
      if (end.status === "fulfilled") return end.value;
      return end.reason instanceof ChildRunFailedError ? end.reason.status : "unexpected";
    });
  },
});

await embedded(async (aiki, startWorker) => {
  await startWorker(shipping, parcel);
  const handle = await shippingV1.start(aiki, { places: ["Oslo", "nowhere", "Lima"] });
  prove("each child ends independently", await handle.result(), ["parcel to Oslo", "failed", "parcel to Lima"]);

  const { runs } = await aiki.runs.list({ parentId: handle.id });
  prove("each child is a run that can be listed", runs.length, 3);
});
