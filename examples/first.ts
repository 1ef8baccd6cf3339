import { client } from "@aikirun/client";
import { server } from "@aikirun/server";
import { task } from "@aikirun/task";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";

const greet = task({ name: "greet", handler: async (name: string) => `Hello, ${name}!` });

const hello = workflow({ name: "hello" });
const helloV1 = hello.v("1.0.0", {
  async handler(run, input: { name: string }) {
    const greeting = await greet.start(run, input.name);
    await run.sleep({ seconds: 2 }); // kill the process here: the next process continues from this line
    return `${greeting} This outlives the process.`;
  },
});

const aikiServer = await server({ database: "sqlite:hello.db" });
const aiki = await client({ server: aikiServer });
const aikiWorker = worker(aiki, { id: "worker-1" });
aikiWorker.registry.add(hello);
await aikiWorker.start();

const handle = await helloV1.start(aiki, { name: "Ada" }, { referenceId: "hello-ada" });
console.log(await handle.result()); // start the program again: the same reference and input return the same run

await aikiWorker.stop();
await aiki.close();
await aikiServer.close();
