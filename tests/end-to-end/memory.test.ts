/** The memory that suspended runs use in a worker. */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { expect, it } from "vitest";
import { heldByOne, sleeper } from "./sleeping-process.ts";

const script = fileURLToPath(new URL("./sleeping-process.ts", import.meta.url));

it("a worker with a heap of 300 MB survives 60 sleeping runs of 8 MB each and completes them", async () => {
  const aikiServer = await server({ database: "memory:", logger: silentLogger });
  const { url } = await aikiServer.listen({ port: 0 });
  const aiki = await client({ server: aikiServer, logger: silentLogger });
  const node = ["--max-old-space-size=300", "--import", import.meta.resolve("tsx"), "--conditions=@aikirun/source"];
  let endWorker: () => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    const child = execFile(process.execPath, [...node, script, url], (error) =>
      reject(error ?? new Error("The worker process ended.")),
    );
    endWorker = () => child.kill();
  });
  const alive = <Result>(work: Promise<Result>) => Promise.race([work, ended]);
  try {
    const handles = await Promise.all(Array.from({ length: 60 }, () => sleeper.start(aiki)));
    await alive(Promise.all(handles.map((handle) => handle.waitFor("sleeping"))));
    await Promise.all(handles.map((handle) => handle.wake()));
    const results = await alive(Promise.all(handles.map((handle) => handle.result())));
    expect(results).toEqual(handles.map(() => heldByOne));
  } finally {
    endWorker();
    await ended.catch(() => {});
    await aiki.close();
    await aikiServer.close();
  }
}, 120_000);
