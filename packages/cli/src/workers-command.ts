import type { LiveWorker, Served } from "@aikirun/lib/protocol";
import { type Listing, printListing } from "./listing.ts";
import { connected, type ServerOptions } from "./runs/connect.ts";
import type { Terminal } from "./terminal.ts";
import { plain, spanOf } from "./text.ts";

/** The maximum number of versions to list for each worker; the rest is counted. */
const most = 4;

/** Lists the live workers with what they serve and how busy they are. */
export async function workersCommand(options: ServerOptions, terminal: Terminal): Promise<void> {
  const workers = await connected(options, (aiki) => aiki.workers.list());
  printListing(workerTable(workers), options.json, terminal);
}

/** A table with one line for each worker. */
export function workerTable(workers: readonly LiveWorker[]): Listing<LiveWorker> {
  const heading = ["WORKER", "SESSION", "BUSY", "SHARDS", "SEEN", "SERVES"];
  return { items: workers, nothing: "No worker is alive.", heading, row: rowOf };
}

function rowOf({ worker, session, load, shardKeys, seenAt, serves }: LiveWorker): string[] {
  const busy = load === undefined ? "?" : `${load.busy}/${load.slots}`;
  const shards = shardKeys.length === 0 ? "-" : plain(shardKeys.join(", "));
  const seen = `${spanOf(Math.max(0, Date.now() - seenAt))} ago`;
  return [plain(worker), plain(session.slice(-8)), busy, shards, seen, servedBy(serves)];
}

function servedBy(serves: readonly Served[]): string {
  const named = serves.slice(0, most).map(({ name, versionId }) => plain(`${name}@${versionId}`));
  const more = serves.length > most ? ` and ${serves.length - most} more` : "";
  return `${named.join(", ")}${more}`;
}
