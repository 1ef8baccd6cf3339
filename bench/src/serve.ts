/** The server of a measurement over HTTP, in a process of its own. */

import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";

const [database = "memory:"] = process.argv.slice(2);
const one = await server({ database, logger: silentLogger });
const { url } = await one.listen({ port: 0 });

process.on("message", async (message) => {
  if (message === "rss") {
    process.send?.(process.memoryUsage().rss);
  } else {
    await one.close();
    process.exit(0);
  }
});
process.send?.(url);
