/** Shared by all storages: the size of an entry, and which entries a retried run reuses. */

import { AikiError } from "@aikirun/lib";
import { resultAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { CallSite, Entry, RunId } from "@aikirun/lib/protocol";
import type { Outline } from "../core/run.ts";
import { typeOf } from "../core/unread.ts";

/** The size of an entry without its payload: ids, times, punctuation. Bytes. */
const overheadBytes = 160;
/** The size of a call site without its identity and branch: names, punctuation, a number. Bytes. */
const callSiteBytes = 48;

/** The approximate size of an entry on the wire. Every storage cuts journals by this measure. Bytes. */
export function entryBytes(entry: Entry): number {
  const { callSite } = entry;
  const call = callSite === undefined ? 0 : callSiteBytes + callSite.identity.length + (callSite.branch?.length ?? 0);
  return overheadBytes + entry.address.length + call + valueBytes(entry.value);
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
    case "asked":
    case "reused":
    case "withdrawn":
    case "started":
    case "elapsed":
    case "received":
      return 0;
    case "marked":
      return value.mark === "stalled" ? Buffer.byteLength(JSON.stringify(value.waits ?? [])) : 0;
    default:
      return value satisfies never;
  }
}

/** Takes entries in order until a limit is reached; the first one may exceed `bytes`. */
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

/** A success that is copied into the journal of the run that reuses it, as attempt 0. */
export interface Copy {
  /** The `seq` of the entry that is copied. */
  from: number;
  seq: number;
  callSite: CallSite | undefined;
}

/**
 * The successes of a journal, in order, to be copied to the run that reuses them. The start of a child is a success if
 * the child's result returned; of several starts at one address, the last one counts. Of other entries at one address,
 * the first one counts (R3). The end of a wait is no success if the handler withdrew that wait.
 */
export function reused(entries: readonly Outline[]): Copy[] {
  const found = findings(entries);
  const seen = new Set<string>();
  const copies: Copy[] = [];
  for (const entry of entries) {
    if (seen.has(entry.address) || !isSuccess(entry, found)) continue;
    seen.add(entry.address);
    const callSite = entry.callSite === undefined ? undefined : recounted(entry.callSite, copies);
    copies.push({ from: entry.seq, seq: copies.length + 1, callSite });
  }
  return copies;
}

export function reuseConflict(to: RunId): AikiError {
  const message = "The address or the seq of a reused entry is taken: reuse into a new run only.";
  return new AikiError("REUSE_CONFLICT", message, { ids: { runId: to } });
}

/** The call site with `madeAfter` counted in copies; `copies` are those made so far. */
function recounted(callSite: CallSite, copies: readonly Copy[]): CallSite {
  const after = copies.findLastIndex(({ from }) => from <= callSite.madeAfter);
  return { ...callSite, madeAfter: after + 1 };
}

interface Findings {
  returned: Set<string>;
  lastStart: Map<string, number>;
  /** `<attempt> <address>` of the withdrawals. */
  withdrawn: Set<string>;
}

function findings(entries: readonly Outline[]): Findings {
  const found: Findings = { returned: new Set(), lastStart: new Map(), withdrawn: new Set() };
  for (const entry of entries) {
    const { attempt, address, seq } = entry;
    const type = typeOf(entry);
    if (type === "returned") found.returned.add(address);
    if (type === "started") found.lastStart.set(address, seq);
    if (type === "withdrawn") found.withdrawn.add(`${attempt} ${address}`);
  }
  return found;
}

function isSuccess(entry: Outline, found: Findings): boolean {
  const { attempt, address, value, seq } = entry;
  const type = typeOf(entry);
  switch (type) {
    case "returned":
    case "observed":
    case "arrived":
      return true;
    case "elapsed":
    case "received":
      return !found.withdrawn.has(`${attempt} ${withdrawnAddress(address)}`);
    case "started":
      return found.returned.has(resultAddress(address)) && found.lastStart.get(address) === seq;
    case "threw":
    case "retrying":
    case "asked":
    case "reused":
    case "withdrawn":
      return false;
    case "marked":
      // Calls that the previous run could not distinguish must not receive a reused value in this run either.
      return value.type === "marked" && value.mark === "stalled" && value.identity !== undefined;
    default:
      return type satisfies never;
  }
}
