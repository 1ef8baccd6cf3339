/** A process with a server and a worker, in which a promise rejects without a handler. */

import { setTimeout as pause } from "node:timers/promises";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";

/** Where the promise rejects. */
export type Rejecting = "in a run" | "in a suspended run" | "outside of runs";

export interface RejectingProcessConfig {
  where: Rejecting;
  /** Whether the application listens for such rejections itself. */
  isListening: boolean;
}

const { where, isListening }: RejectingProcessConfig = JSON.parse(process.argv[2] ?? "{}");
if (isListening) process.on("unhandledRejection", (reason) => console.log(`the application receives: ${reason}`));

async function failing(): Promise<string> {
  await pause(5);
  throw Object.assign(new Error("nothing left"), { code: "SOLD_OUT" });
}

const orders = workflow({ name: "order" });
const order = orders.v("1", {
  async handler(run) {
    const stock = failing();
    const price = await run.step("price", () => pause(50).then(() => "9.99"));
    return `${price} for ${await stock}`;
  },
});
const naps = workflow({ name: "nap" });
const nap = naps.v("1", {
  async handler(run) {
    void pause(100).then(failing);
    await run.sleep({ hours: 1 });
  },
});
const greetings = workflow({ name: "greeting" });
const greeting = greetings.v("1", { handler: (run) => run.step("greet", async () => "hello") });

const aikiServer = await server({ database: "memory:", logger: silentLogger });
const aiki = await client({ server: aikiServer, logger: silentLogger });
const aikiWorker = worker(aiki);
aikiWorker.registry.addMany([orders, naps, greetings]);
await aikiWorker.start();

if (where === "outside of runs") {
  void failing();
  await pause(50);
} else {
  const handle = await (where === "in a run" ? order : nap).start(aiki);
  const outcome = await handle
    .result()
    .catch(({ code, cause }) => `${code}: ${cause?.code}: ${cause?.cause?.code}, ${cause?.cause?.message}`);
  console.log(`outcome: ${outcome}`);
}
console.log(`the next run: ${await (await greeting.start(aiki)).result()}`);
await aikiWorker.stop();
await aiki.close();
await aikiServer.close();
console.log("closed");
