/** A wait that lost run.race receives no event. A later event reaches the current wait of the handler. */

import { event, workflow } from "@aikirun/workflow";
import { embedded, prove } from "./harness/embedded.ts";

const poll = workflow({ name: "poll" });
const pollV1 = poll.v("1.0.0", {
  events: { stop: event<string>() },
  async handler(run) {
    for (let round = 1; ; round++) {
      const winner = await run.race([run.events.stop.wait(), run.sleep({ milliseconds: round < 3 ? 20 : 86_400_000 })]);
      if (typeof winner === "string") return { round, winner };
    }
  },
});

await embedded(async (aiki, startWorker) => {
  await startWorker(poll);
  const handle = await pollV1.start(aiki, undefined);
  let open = (await handle.view()).waits;
  while (open.every(({ until }) => until === null || until < Date.now() + 60_000)) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    open = (await handle.view()).waits;
  }
  prove("in the third round only the two waits of this round are open", open.length, 2);
  await handle.events.stop.send("enough");
  prove("the event reaches the wait of the third round", await handle.result(), { round: 3, winner: "enough" });
});
