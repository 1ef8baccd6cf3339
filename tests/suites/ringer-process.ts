/** A server that rings for one run through the Redis it is told, and prints what it has warned of. */

import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { v7 } from "uuid";

const [, , redis = ""] = process.argv;
const warnings: string[] = [];
const warn = (line: string) => {
  warnings.push(line);
};
const ringer = await server({ database: "memory:", redis, logger: { ...silentLogger, warn } });
await ringer.api().start({ runs: [{ id: v7(), name: "order", versionId: "1" }] });
await ringer.close();
process.stdout.write(JSON.stringify(warnings));
