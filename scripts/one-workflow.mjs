/** Runs one workflow with a worker and a client. The first argument is the url of the server. Prints the result. */

import { client } from "@aikirun/client";
import { task } from "@aikirun/task";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";

const apiKey = process.env.AIKI_API_KEY;
const double = task({ name: "double", handler: async (amount) => amount * 2 });
const order = workflow({ name: "order" });
const version = order.v("1.0.0", { handler: async (run, amount) => double.start(run, amount) });
const aiki = await client({ url: process.argv[2], ...(apiKey === undefined ? {} : { apiKey }) });
const aikiWorker = worker(aiki, { id: "installed" });
aikiWorker.registry.addMany([order]);
await aikiWorker.start();
const handle = await version.start(aiki, 21);
console.log("returned", await handle.result());
await aikiWorker.stop();
await aiki.close();
