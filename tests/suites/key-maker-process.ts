/** Creates the requested number of API keys as fast as possible, and prints the last one. */

import { silentLogger } from "@aikirun/lib";
import { apiKeys } from "@aikirun/server";

const [, , database = "", count = ""] = process.argv;
const keys = await apiKeys({ database, logger: silentLogger });
let last = "";
for (let made = 0; made < Number(count); made++) last = (await keys.create({ name: `n${made}` })).secret;
await keys.close();
process.stdout.write(`${last}\n`);
