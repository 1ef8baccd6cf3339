/** A server that publishes a wake-up for one run through the given Redis, and prints its warnings. */

import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { v7 } from "uuid";

const [, , redis = ""] = process.argv;
const warnings: string[] = [];
const warn = (line: string) => {
  warnings.push(line);
};
const publisher = await server({ database: "memory:", redis, logger: { ...silentLogger, warn } });
await publisher.api().start({ runs: [{ id: v7(), name: "order", versionId: "1" }] });
await publisher.close();
process.stdout.write(JSON.stringify(warnings));
