/** A worker in its own process: `worker.ts <url> <worker id>`. */

import { client } from "@aikirun/client";
import { consoleLogger } from "@aikirun/lib";
import { worker } from "@aikirun/worker";
import { orderWorkflow, shipWorkflow } from "./workflows.ts";

const [url = "", id = ""] = process.argv.slice(2);
const aiki = await client({ url, logger: consoleLogger({ level: "warn" }) });

// The default heartbeat interval is 30 s. Here, the server should detect a killed worker within two seconds.
const aikiWorker = worker(aiki, { id, maxConcurrentWorkflowRuns: 5, workflowRun: { heartbeatIntervalMs: 500 } });
aikiWorker.registry.add(orderWorkflow).add(shipWorkflow);
await aikiWorker.start();

const stop = async () => {
  await aikiWorker.stop();
  await aiki.close();
  process.exit(0);
};
process.on("disconnect", stop);
process.on("SIGINT", () => {});
process.send?.("up");
