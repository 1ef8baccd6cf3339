/** The branches of the record and of this execution: which call begins each, and which branch leads to which. Pure. */

import type { Identified } from "./call.ts";
import { branchOf, lateIdentity } from "./identity.ts";
import { isOfBranch, type Recorded, wasPrompt } from "./recorded.ts";

export class Branches {
  /** By the name of the branch that continues after the call; null where several calls have the same name. */
  readonly #byPath = new Map<string, Recorded | null>();
  /** The branches that this execution has begun and that continue after no recorded call: by name, where they began. */
  readonly #begun = new Map<string, string | null>([["root", null]]);

  /** Knows the branch that continues after the call. The call itself, which may be withdrawn, matches nothing. */
  add(call: Recorded): void {
    if (call.callSite === null) return;
    const { identity, branch } = call.callSite;
    const path = call.path ?? (branch === undefined ? identity : lateIdentity(call.content, branch));
    const known = this.#byPath.get(path);
    this.#byPath.set(path, known === undefined || known === call ? call : null);
  }

  /** This execution has begun a branch, in the branch `from`, that continues after no recorded call. */
  begin(branch: string, from: string): void {
    this.#begun.set(branch, branchOf(from));
  }

  /** Whether this execution has begun the branch that made the recorded call. */
  mayMake(call: Recorded): boolean {
    for (const begun of this.#begun.keys()) if (isOfBranch(call, begun)) return true;
    for (const [path, before] of this.#byPath) if (before?.isClaimed === true && isOfBranch(call, path)) return true;
    return false;
  }

  /**
   * Whether one of the two calls may be on the path to the other. If neither is, they belong to parallel branches, such
   * as items of a list. Events are taken in order by any wait.
   */
  areOnPath({ content, branch, isBeside }: Identified, recorded: Recorded): boolean {
    if (content.startsWith("event:")) return true;
    const own = isBeside ? this.#before(branchOf(branch)) : branchOf(branch);
    const other = this.#originOf(recorded);
    return own === null || other === null || this.#leadsTo(own, other) || this.#leadsTo(other, own);
  }

  /** Whether code of the branch `to` came from the branch `from`. */
  #leadsTo(from: string, to: string): boolean {
    const seen = new Set<string>();
    for (let at: string | null = to; at !== null && !seen.has(at); at = this.#before(at)) {
      if (at === from) return true;
      seen.add(at);
    }
    return false;
  }

  /** The branch that made the call after which this branch continues; null if it is not known. */
  #before(branch: string): string | null {
    const call = this.#byPath.get(branch);
    return call === undefined || call === null ? (this.#begun.get(branch) ?? null) : this.#originOf(call);
  }

  /** The branch that made the recorded call; null if it is not known. */
  #originOf(call: Recorded): string | null {
    const { callSite, content, siteAttempt } = call;
    const branch = this.#branchOf(call);
    if (callSite === null || branch === null) return null;
    const isTogether = wasPrompt(callSite)
      ? callSite.branch !== branch
      : callSite.identity !== lateIdentity(content, branch);
    const answeredAt = this.#byPath.get(branch)?.answeredAt.get(siteAttempt);
    const isBeside = isTogether || (answeredAt !== undefined && callSite.madeAfter < answeredAt);
    return isBeside ? this.#before(branch) : branch;
  }

  /** The branch from which the call was made, or beside whose call. The branch of a late call is found by hashing. */
  #branchOf(call: Recorded): string | null {
    if (call.callSite === null) return null;
    if (wasPrompt(call.callSite)) return branchOf(call.callSite.branch);
    for (const names of [this.#begun.keys(), this.#byPath.keys()]) {
      for (const name of names) if (isOfBranch(call, name)) return name;
    }
    return null;
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
