/** The branches that are recorded or begun in this execution, and the calls after which they continue. Pure. */

import type { Identified } from "./call.ts";
import { branchOf, lateIdentity } from "./identity.ts";
import { isOfBranch, type Recorded } from "./recorded.ts";

export class Branches {
  /** Recorded calls by the name of the branch that continues after the call; null if several calls have it. */
  readonly #byBranchAfter = new Map<string, Recorded | null>();
  /** The names of the branches that this execution has begun and that continue after no recorded call. */
  readonly #begun = new Set(["root"]);

  /** Adds the branch that continues after the call. The call may be withdrawn: it does not become a match itself. */
  add(call: Recorded): void {
    if (call.callSite === null) return;
    const { identity, branch } = call.callSite;
    const branchAfter = call.branchAfter ?? (branch === undefined ? identity : lateIdentity(call.content, branch));
    const known = this.#byBranchAfter.get(branchAfter);
    this.#byBranchAfter.set(branchAfter, known === undefined || known === call ? call : null);
  }

  /** Call when this execution begins a branch that continues after no recorded call. */
  begin(branch: string): void {
    this.#begun.add(branch);
  }

  /** Whether this execution has begun the branch that made the recorded call. */
  mayMake(call: Recorded): boolean {
    for (const begun of this.#begun) if (isOfBranch(call, begun)) return true;
    for (const [branchAfter, before] of this.#byBranchAfter)
      if (before?.isClaimed === true && isOfBranch(call, branchAfter)) return true;
    return false;
  }

  /** Whether the recorded call was made before the previous call of its branch had a value. */
  wasBeside({ callSite, siteAttempt }: Recorded, { branch, isBeside }: Identified): boolean {
    const before = this.#byBranchAfter.get(branchOf(branch));
    // `now()` returns at once, so no call is made beside it.
    if (before === undefined || before === null || callSite === null || before.content.startsWith("now:"))
      return isBeside;
    const valueSeqs = before.valueSeqs.get(siteAttempt);
    return valueSeqs === undefined || callSite.madeAfter < valueSeqs;
  }
}
