/** Why a run does not move: what stops it, since when, and what would move it, down to the child at the root. */

import { present } from "@aikirun/lib/internal";
import type { Address, LiveWorker, RunId, RunStatus, Why, WhyLink } from "@aikirun/lib/protocol";
import { finalStatuses, limits, runStatuses } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import type { Reader } from "../storage/storage.ts";
import { firstWaits, isAwaiting, stalledChildren } from "./awaited-children.ts";
import { named } from "./phrases.ts";
import { type FailedTry, linkOf } from "./why-link.ts";

/** How many runs an answer has at most: the run, its child, the child of that, and so on. */
const longestChain = 20;
/** How many live children of a run are examined to find one that it waits for. */
const examinedChildren = 200;

const liveStatuses: RunStatus[] = runStatuses.filter((status) => finalStatuses.every((final) => final !== status));

/** Null if the namespace has no such run. */
export async function whyOf(
  reader: Reader,
  namespace: string,
  runId: RunId,
  workers: readonly LiveWorker[],
): Promise<Why | null> {
  const now = reader.now();
  const links: WhyLink[] = [];
  let [run] = await reader.load([runId]);
  if (run === undefined || run.namespace !== namespace) {
    return null;
  }
  while (run !== undefined && links.length < longestChain) {
    const child: Run | null = isAwaiting(run) ? await awaitedChild(reader, run) : null;
    links.push(linkOf(run, { now, workers, child, failed: await failedTries(reader, run) }));
    run = child ?? undefined;
  }
  const [first, ...others] = links;
  const further = others.map((link) => `Run ${link.runId} of ${link.name}@${link.versionId}: ${link.text}`);
  return { text: [first?.text, ...further].join(" "), at: now, links };
}

/** A child that the run waits for: a stalled one if there is one, otherwise the oldest. */
async function awaitedChild(reader: Reader, run: Run): Promise<Run | null> {
  const stalledOne = (await stalledChildren(reader, [run])).get(run.id);
  if (stalledOne?.isAwaited === true) {
    return stalledOne.child;
  }
  const request = { parentId: run.id, status: liveStatuses, order: "oldest" } as const;
  const page = { limit: examinedChildren, scan: examinedChildren, after: null };
  const { runs } = await reader.find(run.namespace, request, page);
  const awaited = runs.length === 0 ? new Set<RunId>() : await firstWaits(reader, [run], runs);
  const open = new Set(run.waits.filter(({ type }) => type === "child").map(({ address }) => callOf(address)));
  const isAwaited = ({ id, parent }: Run) => awaited.has(id) || (parent !== null && open.has(parent.address));
  return runs.find(isAwaited) ?? null;
}

/** The durable call to which the address of a wait or of a try belongs. */
function callOf(address: Address): Address {
  return address.slice(0, address.lastIndexOf("/"));
}

/** The last failed tries of the tasks that the run waits to try again, by the addresses of the waits. */
async function failedTries(reader: Reader, { id: runId, attempt, waits }: Run): Promise<Map<Address, FailedTry>> {
  const retries = waits.filter(({ type }) => type === "retry").slice(0, named);
  const keys = retries.map(({ address }) => ({ runId, attempt, address: callOf(address) }));
  const outlines = keys.length === 0 ? [] : await reader.entriesAt(keys);
  // The outlines lack large values, and errors with a stack are large.
  const requests = outlines.map(({ seq }) => ({ runId, after: seq - 1, limit: 1, bytes: limits.journalPageBytes }));
  const entries = requests.length === 0 ? [] : (await reader.journal(requests)).flat();
  const failed = new Map<Address, FailedTry>();
  for (const { address, value } of entries) {
    if (value.type !== "retrying") continue;
    const { error, maxAttempts } = value;
    failed.set(`${address}/retry`, { attempt: numberOf(address), error, ...present({ maxAttempts }) });
  }
  return failed;
}

/** The number of a try, from its address. */
function numberOf(address: Address): number {
  return Number(address.slice(address.lastIndexOf("/") + 1));
}
