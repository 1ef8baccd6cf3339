/** Opens a database, writes one run, prints that, and keeps the database open until it is killed. */

import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import { queuedRun } from "./records.ts";

const [, , path = ""] = process.argv;
const storage = await openSqlite({ path, env: { now: () => 1 } });
await storage.transaction((transaction) => transaction.insert([queuedRun(1)]));
process.stdout.write("held\n");
// Without a reference the storage may be collected, and its lock released with it.
setInterval(() => storage, 60_000);
