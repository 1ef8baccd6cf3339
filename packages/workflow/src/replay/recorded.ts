import type { Address, CallSite, Entry } from "@aikirun/lib/protocol";
import { besideOf, branchOf, lateIdentity } from "./identity.ts";

/** A durable call that the journal has recorded. */
export interface Recorded {
  readonly address: Address;
  readonly content: string;
  /** The call site in the newest attempt that recorded one; null when none is recorded. */
  callSite: CallSite | null;
  /** The attempt that recorded `callSite`. */
  siteAttempt: number;
  /** The `seq` of its value in each attempt. */
  readonly valueSeqs: Map<number, number>;
  /** The identity under which an attempt first recorded the call. It names the call's delivery in every attempt. */
  firstIdentity: string | null;
  /** The name of the branch after the call, the same in every attempt; null if the call site does not determine it. */
  branchAfter: string | null;
  /** The entry of its value; null while it has no value, and when it failed in an earlier attempt. */
  entry: Entry | null;
  /** The `seq` of the entry `asked`; 0 when it has none. */
  askedSeq: number;
  /** Whether only earlier attempts have recorded it. */
  isEarlier: boolean;
  /** Whether it failed in an earlier attempt and was made again in a later one. */
  isRedone: boolean;
  /** Whether this attempt reused its value from an earlier attempt. */
  isReused: boolean;
  /** Whether the handler has made this call again. */
  isClaimed: boolean;
}

/** A call of which only the call site is known. */
export function recordedCall(address: Address, content: string, site: CallSite | undefined, attempt: number): Recorded {
  return {
    address,
    content,
    callSite: site ?? null,
    siteAttempt: attempt,
    valueSeqs: new Map(),
    firstIdentity: site?.identity ?? null,
    branchAfter: branchAfterOf(content, site),
    entry: null,
    askedSeq: 0,
    isEarlier: false,
    isRedone: false,
    isReused: false,
    isClaimed: false,
  };
}

/** The position of the call in order of recording. An open wait has no entry yet, so it comes last. */
export function recordedAt({ entry, askedSeq }: Recorded): number {
  if (entry !== null) return entry.seq;
  return askedSeq > 0 ? askedSeq : Number.MAX_SAFE_INTEGER;
}

export function wasPrompt(callSite: CallSite): callSite is CallSite & { branch: string } {
  return callSite.branch !== undefined;
}

/** Whether the two are alike calls of one branch, and not both late. */
export function isAlike(call: Recorded, other: Recorded): boolean {
  if (call.content !== other.content) return false;
  const [own, others] = [call.callSite?.branch, other.callSite?.branch];
  return (own !== undefined && isOfBranch(other, own)) || (others !== undefined && isOfBranch(call, others));
}

/** Whether the call was made from this branch: after the last call of the branch, or beside it. */
export function isOfBranch({ content, callSite }: Recorded, place: string): boolean {
  if (callSite === null) return false;
  const branch = branchOf(place);
  if (callSite.branch !== undefined) return branchOf(callSite.branch) === branch;
  return [branch, besideOf(branch)].some((one) => callSite.identity === lateIdentity(content, one));
}

/** The name of the branch after the call; null when the call site fits several alike calls of one drain. */
export function branchAfterOf(content: string, callSite: CallSite | undefined): string | null {
  if (callSite === undefined) return null;
  if (callSite.branch === undefined) return callSite.identity;
  return callSite.alike === undefined ? lateIdentity(content, callSite.branch) : null;
}
