/** The branches of the record and of this execution, and the calls after which they continue. Pure. */

import type { Identified } from "./call.ts";
import { branchOf, lateIdentity } from "./identity.ts";
import { isOfBranch, type Recorded } from "./recorded.ts";

export class Branches {
  /** By the name of the branch that continues after the call; null where several calls have the same name. */
  readonly #byPath = new Map<string, Recorded | null>();
  /** The names of the branches that this execution has begun and that continue after no recorded call. */
  readonly #begun = new Set(["root"]);

  /** Knows the branch that continues after the call. The call itself, which may be withdrawn, matches nothing. */
  add(call: Recorded): void {
    if (call.callSite === null) return;
    const { identity, branch } = call.callSite;
    const path = call.path ?? (branch === undefined ? identity : lateIdentity(call.content, branch));
    const known = this.#byPath.get(path);
    this.#byPath.set(path, known === undefined || known === call ? call : null);
  }

  /** This execution has begun a branch that continues after no recorded call. */
  begin(branch: string): void {
    this.#begun.add(branch);
  }

  /** Whether this execution has begun the branch that made the recorded call. */
  mayMake(call: Recorded): boolean {
    for (const begun of this.#begun) if (isOfBranch(call, begun)) return true;
    for (const [path, before] of this.#byPath) if (before?.isClaimed === true && isOfBranch(call, path)) return true;
    return false;
  }

  /** Whether the recorded call was made before the call of its branch had a value. */
  wasBeside({ callSite, siteAttempt }: Recorded, { branch, isBeside }: Identified): boolean {
    const before = this.#byPath.get(branchOf(branch));
    // `now()` returns at once, so no call is made beside it.
    if (before === undefined || before === null || callSite === null || before.content.startsWith("now:"))
      return isBeside;
    const answeredAt = before.answeredAt.get(siteAttempt);
    return answeredAt === undefined || callSite.madeAfter < answeredAt;
  }
}
