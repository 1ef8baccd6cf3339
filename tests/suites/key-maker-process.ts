/** Makes as many API keys as it is told, as fast as it can, and prints the last. */

import { silentLogger } from "@aikirun/lib";
import { apiKeys } from "@aikirun/server";

const [, , database = "", count = ""] = process.argv;
const keys = await apiKeys({ database, logger: silentLogger });
let last = "";
for (let made = 0; made < Number(count); made++) last = (await keys.create({ name: `n${made}` })).secret;
await keys.close();
process.stdout.write(`${last}\n`);
