/** What every storage says alike of entries: how large one is, and which of them a retried run recalls. */

import { resultAddress } from "@aikirun/lib";
import type { Entry, RunId } from "@aikirun/lib/protocol";

/** What an entry weighs besides its payload: ids, times, punctuation. */
const overheadBytes = 160;

/** About the bytes that an entry takes on the wire; every storage cuts journals by the same measure. */
export function entryBytes(entry: Entry): number {
  return overheadBytes + entry.address.length + valueBytes(entry.value);
}

function valueBytes(value: Entry["value"]): number {
  switch (value.type) {
    case "returned":
      return value.output === undefined ? 0 : Buffer.byteLength(value.output);
    case "arrived":
      return value.data === undefined ? 0 : Buffer.byteLength(value.data);
    case "observed":
      return Buffer.byteLength(value.data);
    case "threw":
    case "retrying":
      return Buffer.byteLength(JSON.stringify(value.error));
    case "started":
    case "elapsed":
    case "received":
    case "marked":
      return 0;
    default:
      return value satisfies never;
  }
}

/** Takes entries in order until one of the limits is passed; the first is always taken. */
export function cutJournal(entries: Iterable<Entry>, limit: number, bytes: number): Entry[] {
  const taken: Entry[] = [];
  let size = 0;
  if (limit < 1) return taken;
  for (const entry of entries) {
    size += entryBytes(entry);
    if (taken.length > 0 && size > bytes) break;
    taken.push(entry);
    if (taken.length >= limit) break;
  }
  return taken;
}

/**
 * The successes of a journal, as the entries of attempt 0 of the run that recalls them. A child counts when its result
 * returned; of several starts at one address the last is the one that did, of anything else the first stands (R3).
 */
export function recalled(entries: Entry[], to: RunId): Entry[] {
  const returned = new Set<string>();
  const lastStart = new Map<string, number>();
  for (const { address, value, seq } of entries) {
    if (value.type === "returned") returned.add(address);
    if (value.type === "started") lastStart.set(address, seq);
  }
  const seen = new Set<string>();
  const copies: Entry[] = [];
  for (const entry of entries) {
    if (seen.has(entry.address) || !isSuccess(entry, returned, lastStart)) continue;
    seen.add(entry.address);
    copies.push({ ...entry, runId: to, attempt: 0, fence: 0, seq: copies.length + 1 });
  }
  return copies;
}

function isSuccess(entry: Entry, returned: Set<string>, lastStart: Map<string, number>): boolean {
  switch (entry.value.type) {
    case "returned":
    case "observed":
    case "elapsed":
    case "arrived":
    case "received":
      return true;
    case "started":
      return returned.has(resultAddress(entry.address)) && lastStart.get(entry.address) === entry.seq;
    case "threw":
    case "retrying":
    case "marked":
      return false;
    default:
      return entry.value satisfies never;
  }
}
