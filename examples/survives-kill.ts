/** After SIGKILL in the middle of a task, another worker continues the run and repeats no recorded task. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { client } from "@aikirun/client";
import { server } from "@aikirun/server";
import { task } from "@aikirun/task";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";
import { prove } from "./harness/embedded.ts";

/** Sends its input to the parent process. In the first worker, the task with the input "charge" never ends. */
const act = task({
  name: "act",
  async handler(what: string) {
    process.send?.(what);
    if (what === "charge" && process.argv[3] === "hangs") await new Promise(() => {});
    return what;
  },
});

const order = workflow({ name: "order" });
const orderV1 = order.v("1.0.0", {
  async handler(run) {
    return [await act.start(run, "reserve"), await act.start(run, "charge"), await act.start(run, "ship")];
  },
});

const url = process.argv[2];
if (url !== undefined) {
  const aikiWorker = worker(await client({ url }), { workflowRun: { heartbeatIntervalMs: 500 } });
  aikiWorker.registry.add(order);
  await aikiWorker.start();
} else {
  const aikiServer = await server({ database: "memory:" });
  const listening = await aikiServer.listen({ port: 0 });
  const aiki = await client({ server: aikiServer });
  const handle = await orderV1.start(aiki, undefined);
  const effects: unknown[] = [];
  const startWorker = (behavior: "hangs" | "works") =>
    fork(import.meta.filename, [listening.url, behavior]).on("message", (what) => effects.push(what));

  const first = startWorker("hangs");
  while (!effects.includes("charge")) await once(first, "message");
  first.kill("SIGKILL");
  const second = startWorker("works");
  prove("the run completes", await handle.result(), ["reserve", "charge", "ship"]);
  prove("only the task without a recorded result was repeated", effects, ["reserve", "charge", "charge", "ship"]);

  second.kill();
  await aiki.close();
  await aikiServer.close();
}
