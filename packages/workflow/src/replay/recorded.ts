import type { Address, CallSite, Entry } from "@aikirun/lib/protocol";
import { besideOf, branchOf, lateIdentity } from "./identity.ts";

/** A durable call, as the record has it. */
export interface Recorded {
  readonly address: Address;
  readonly content: string;
  /** Of the newest attempt that recorded it; null when it was recorded without. */
  callSite: CallSite | null;
  /** The attempt that `callSite` is of. */
  siteAttempt: number;
  /** By attempt: the `seq` of its value. */
  readonly answeredAt: Map<number, number>;
  /** The identity under which it was recorded first: what its delivery is called in every attempt. */
  lineage: string | null;
  /** What the branch that goes on from it is called in every attempt; null when its call site alone does not tell. */
  path: string | null;
  /** Its value; null while there is none, and when it failed in an earlier attempt. */
  entry: Entry | null;
  /** The `seq` of the entry `asked`; 0 when it has none. */
  askSeq: number;
  /** Of an earlier attempt of the run. */
  isEarlier: boolean;
  /** It had failed in an earlier attempt, and was made again in a later one. */
  isRedone: boolean;
  /** What this attempt has recorded of it was recalled from an earlier one. */
  isRecalled: boolean;
  /** The handler has made this call again. */
  isClaimed: boolean;
}

/** An open wait has no entry yet: it comes last. */
export function recordedAt({ entry, askSeq }: Recorded): number {
  if (entry !== null) return entry.seq;
  return askSeq > 0 ? askSeq : Number.MAX_SAFE_INTEGER;
}

/** Whether the two are alike calls of one branch, and not both late. */
export function isAlike(call: Recorded, other: Recorded): boolean {
  if (call.content !== other.content) return false;
  const [own, others] = [call.callSite?.branch, other.callSite?.branch];
  return (own !== undefined && isOfBranch(other, own)) || (others !== undefined && isOfBranch(call, others));
}

/** Whether the call was made from this branch, or beside the call that it goes on from. */
export function isOfBranch({ content, callSite }: Recorded, place: string): boolean {
  if (callSite === null) return false;
  const branch = branchOf(place);
  if (callSite.branch !== undefined) return branchOf(callSite.branch) === branch;
  return [branch, besideOf(branch)].some((one) => callSite.identity === lateIdentity(content, one));
}
