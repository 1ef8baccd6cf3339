/** A worker whose runs hold 8 MB each while they sleep. Its one argument is the url of its server. */

import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { limits } from "@aikirun/lib/protocol";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";

const loads = 4;
/** Its JSON text has the maximum size of a payload. */
const load = "x".repeat(limits.payloadBytes - 2);

const sleepers = workflow({ name: "sleeper" });

/** Returns how many characters it held over its sleep. */
export const sleeper = sleepers.v("1", {
  async handler(run) {
    const held: string[] = [];
    for (let n = 0; n < loads; n += 1) held.push(await run.step("load", async () => load));
    await run.sleep({ hours: 1 });
    return held.reduce((sum, { length }) => sum + length, 0);
  },
});
export const heldByOne = loads * load.length;

const url = process.argv[2];
if (url?.startsWith("http:") === true) {
  const aiki = await client({ url, logger: silentLogger });
  const aikiWorker = worker(aiki, { maxConcurrentWorkflowRuns: 2 });
  aikiWorker.registry.add(sleepers);
  await aikiWorker.start();
}
