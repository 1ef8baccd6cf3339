/** The server of a measurement over HTTP, in its own process. Its argument is `ServerParams` as JSON. */

import { consoleLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";

const one = await server({ ...JSON.parse(process.argv[2] ?? "{}"), logger: consoleLogger({ level: "error" }) });
const { url } = await one.listen({ port: 0 });

process.once("disconnect", () => process.exit(1));
process.on("message", async (message) => {
  if (message === "use") {
    process.send?.({ rss: process.memoryUsage().rss, cpu: process.cpuUsage() });
  } else {
    await one.close();
    process.exit(0);
  }
});
process.send?.(url);
