/**
 * Finds the recorded call that a call of the handler is. Pure.
 *
 *  M1  The same identity is the same call.
 *  M2  A call with a key may be recorded without it.
 *  M3  A call may be prompt once and late another time (a cache was warm, or cold): it has the same branch still.
 *  M4  In a later attempt of the run code may come to the same call another way: the branch, or the content, finds it
 *      where only one recorded call can be meant.
 *  M5  Where more than one can be meant, none is: the call is ambiguous.
 */

import type { CallSite } from "@aikirun/lib/protocol";
import type { Identified } from "./call.ts";
import { branchOf, lateIdentity, promptIdentity } from "./identity.ts";
import { isOfBranch, type Recorded, recordedAt } from "./recorded.ts";
import { dependentOn, type Refusal } from "./refusal.ts";

/** Sleeps with names are often beside others without: only the same identity tells that one of them got its name. */
const unnamedSleep = "sleep:";

export type Match = Recorded | "new" | "ambiguous";

export class Matcher {
  readonly #byIdentity = new Map<string, Recorded[]>();
  /** By what the branch is called that goes on from the call; null where several calls have the same. */
  readonly #byPath = new Map<string, Recorded | null>();
  /** Unclaimed ones. */
  readonly #byContent = new Map<string, Set<Recorded>>();
  /** How many calls of a content earlier attempts recorded. */
  readonly #earlier = new Map<string, number>();
  /** Contents of which this execution has made a call. */
  readonly #made = new Set<string>();
  /** Identities that calls which could not be told apart share. */
  readonly #contested = new Set<string>();
  /** Contents of such calls. */
  readonly #contestedContents = new Set<string>();
  /** Identities of late calls that prompt ones were taken for. */
  readonly #takenForLate = new Set<string>();
  /** Identities of calls without a key that calls with a key were taken for. */
  readonly #takenForUnkeyed = new Set<string>();

  add(call: Recorded): void {
    listOf(this.#byContent, call.content, () => new Set<Recorded>()).add(call);
    this.identify(call);
  }

  /** The call is recorded under this identity, too. */
  identify(call: Recorded): void {
    if (call.callSite === null) return;
    const { identity, branch } = call.callSite;
    const path = call.path ?? (branch === undefined ? identity : lateIdentity(call.content, branch));
    const known = this.#byPath.get(path);
    this.#byPath.set(path, known === undefined || known === call ? call : null);
    const identical = listOf(this.#byIdentity, call.callSite.identity, (): Recorded[] => []);
    if (!identical.includes(call)) identical.push(call);
  }

  addEarlier({ content }: Recorded): void {
    this.#earlier.set(content, (this.#earlier.get(content) ?? 0) + 1);
  }

  claim(call: Recorded): void {
    this.#byContent.get(call.content)?.delete(call);
  }

  /** `delivered`: the `seq` of the last delivery. */
  match(made: Identified, delivered: number): Match {
    const firsts = this.#firstsOf(made);
    if (this.#contested.has(made.identity)) return "ambiguous";
    if (made.group === null && this.#takenForLate.has(made.identity)) return "ambiguous";
    const found = this.#exact(made.identity) ?? this.#withoutKey(made); // mutant: found-without-key
    if (found !== null) return this.#isRivalled(made, delivered, found) ? "ambiguous" : found;
    const match = this.#byBranch(made, made.content, delivered) ?? this.#fromEarlier(made, firsts);
    if (made.group !== null && typeof match !== "string" && match.callSite !== null && !wasPrompt(match.callSite)) {
      this.#takenForLate.add(match.callSite.identity);
    }
    return match;
  }

  /** The only recorded call that this one can be, whenever it was made: a lock may have been taken in another order. */
  soleOfBranch(made: Identified): Recorded | null {
    if (this.#isContested(made)) return null;
    const [first, second] = this.#alike(made.content).filter(
      (call) => !call.isEarlier && isOfBranch(call, made.branch) && this.#wasBeside(call, made) === made.isBeside,
    );
    return first === undefined ||
      second !== undefined ||
      (first.callSite?.branch !== undefined && first.callSite.alike !== undefined)
      ? null
      : first;
  }

  /** The first recorded call that this one can be, by order. For code that is known to have changed. */
  first(made: Identified): Recorded | undefined {
    if (this.#isContested(made)) return undefined;
    const { content, unkeyed } = made;
    const alike = [...this.#alike(content), ...(unkeyed === null ? [] : this.#alike(unkeyed.content))];
    return alike.filter(({ isEarlier }) => !isEarlier).sort((a, b) => recordedAt(a) - recordedAt(b))[0];
  }

  /** Whether alike calls could not be told apart: then no order tells which is which. */
  #isContested({ content, unkeyed }: Identified): boolean {
    return this.#contestedContents.has(content) || (unkeyed !== null && this.#contestedContents.has(unkeyed.content));
  }

  /**
   * Removes what was recorded until now of the calls of this identity, of those beside them that they may be as well,
   * and of all calls made from the branches that go on from these.
   */
  markAmbiguous(identity: string): { refusal: Refusal; removed: Recorded[] } {
    this.#contested.add(identity);
    const all = [...this.#byContent.values()].flatMap((calls) => [...calls]);
    const meant = all.filter(({ callSite }) => callSite?.identity === identity);
    for (const { content } of meant) this.#contestedContents.add(content);
    const refusal: Refusal = { identity, meant, branches: new Set([identity]) };
    return { refusal, removed: this.#removeDependent(all, refusal) };
  }

  /** Removes those of these waits, which were open when the calls were refused, that depend on them. */
  markWaitsAmbiguous(waits: readonly Recorded[], refusal: Refusal): Recorded[] {
    return this.#removeDependent(waits, refusal);
  }

  #removeDependent(calls: readonly Recorded[], refusal: Refusal): Recorded[] {
    const removed = dependentOn(
      calls.filter(({ isClaimed }) => !isClaimed),
      refusal,
    );
    for (const call of removed) this.#remove(call);
    return removed;
  }

  #remove(call: Recorded): void {
    this.claim(call);
    const { identity: own = "" } = call.callSite ?? {};
    this.#byIdentity.set(
      own,
      this.#identical(own).filter((other) => other !== call),
    );
  }

  #exact(identity: string): Match | null {
    const free = this.#identical(identity).filter(({ isClaimed }) => !isClaimed);
    return free.find(({ isEarlier }) => !isEarlier) ?? free[0] ?? null;
  }

  /** The late call may as well be another one of its branch, which was prompt before and has not come yet. */
  #isRivalled(made: Identified, delivered: number, found: Match): boolean {
    if (made.group !== null || typeof found === "string" || found.isEarlier) return false;
    return this.#alike(found.content).some((other) => {
      const { callSite, isEarlier } = other;
      if (other === found || isEarlier || callSite?.branch === undefined || callSite.madeAfter > delivered)
        return false;
      return isOfBranch(other, made.branch) && this.#wasBeside(other, made) === made.isBeside;
    });
  }

  #withoutKey({ unkeyed, group }: Identified): Match | null {
    if (unkeyed === null || this.#contested.has(unkeyed.identity)) return null;
    const found = this.#exact(unkeyed.identity);
    if (found === null) return group === null && this.#takenForUnkeyed.has(unkeyed.identity) ? "ambiguous" : null;
    this.#takenForUnkeyed.add(unkeyed.identity);
    return found;
  }

  /**
   * The contents of which this is the first call. A call that got its key since an earlier attempt counts for the
   * content without the key, too.
   */
  #firstsOf({ content, unkeyed }: Identified): ReadonlySet<string> {
    const contents = unkeyed === null || this.#earlier.has(content) ? [content] : [content, unkeyed.content];
    const firsts = new Set(contents.filter((one) => !this.#made.has(one)));
    for (const one of firsts) this.#made.add(one);
    return firsts;
  }

  /** M3. A call of this attempt that was made no later than now. */
  #byBranch(made: Identified, content: string, delivered: number): Match | null {
    let found: Recorded | null = null;
    for (const call of this.#byContent.get(content) ?? []) {
      const { callSite, isEarlier } = call;
      if (isEarlier) continue;
      // What was recorded without saying when it was made is told apart by its order.
      if (callSite === null) return call;
      if (!isOfBranch(call, made.branch)) continue;
      // Made earlier than it was, it may find a call open beside it that had ended by then.
      const isEarly = made.group !== null && made.isBeside && callSite.madeAfter > delivered;
      if (!isEarly && this.#wasBeside(call, made) !== made.isBeside) continue;
      if (
        made.group === null ? !wasPrompt(callSite) || callSite.madeAfter > delivered : !mayHaveBeenLate(callSite, made)
      )
        continue;
      if (found !== null || (wasPrompt(callSite) && callSite.alike !== undefined)) return "ambiguous";
      found = call;
    }
    if (found !== null || made.unkeyed === null || content === made.unkeyed.content) return found;
    if (made.unkeyed.content === unnamedSleep) return null;
    return this.#byBranch(made, made.unkeyed.content, delivered);
  }

  /** M4. */
  #fromEarlier(made: Identified, firsts: ReadonlySet<string>): Match {
    const { content, unkeyed } = made;
    const own = this.#recallable(made, content, firsts);
    if (own !== "new" || unkeyed === null || unkeyed.content === unnamedSleep) return own;
    // With the key it is a call of its own: where it cannot be found it is made anew.
    const other = this.#recallable(made, unkeyed.content, firsts);
    return other === "ambiguous" ? "new" : other;
  }

  #recallable(made: Identified, content: string, firsts: ReadonlySet<string>): Match {
    const { branch, delivered, group, isChanged, isBeside } = made;
    const all = this.#alike(content).filter(({ isEarlier }) => isEarlier);
    // What code that came the same way made here in the same manner has the same identity.
    const isOther = ({ callSite }: Recorded): boolean => {
      if (isChanged || callSite === null) return isChanged;
      if (group === null) return wasPrompt(callSite);
      return wasPrompt(callSite) ? isOverdue(content, callSite, made) : mayHaveBeenLate(callSite, made);
    };
    const isAside = (call: Recorded): boolean => {
      const mayBeEarly =
        !isChanged && group !== null && isBeside && call.callSite !== null && !wasPrompt(call.callSite);
      return !mayBeEarly && this.#wasBeside(call, made) !== isBeside;
    };
    const sameBranch = all.filter((call) => isOfBranch(call, branch) && isOther(call) && !isAside(call));
    const [found] = sameBranch;
    if (found !== undefined && sameBranch.length === 1) return found;
    const isRepeatable = /^(sleep|now):/.test(content);
    if (found !== undefined) {
      // It was prompt after the same delivery, or after the one that began its branch.
      const prompt = [delivered, branch].map((before) => promptIdentity(content, before, branch, 0));
      const one = sameBranch.find(({ callSite }) => callSite !== null && prompt.includes(callSite.identity));
      return one ?? (isRepeatable ? "new" : "ambiguous");
    }
    const [only] = all;
    // Code that came the same way made no other call here: this one had not come to anything yet.
    if (only === undefined || !isChanged) return "new";
    if (firsts.has(content) && this.#earlier.get(content) === 1) return only;
    return isRepeatable || all.every(({ entry }) => entry === null) ? "new" : "ambiguous";
  }

  /** Whether the recorded call was made before the call of its branch had a value. */
  #wasBeside({ callSite, siteAttempt }: Recorded, { branch, isBeside }: Identified): boolean {
    const before = this.#byPath.get(branchOf(branch));
    // A clock is read at once.
    if (before === undefined || before === null || callSite === null || before.content.startsWith("now:"))
      return isBeside;
    const answeredAt = before.answeredAt.get(siteAttempt);
    return answeredAt === undefined || callSite.madeAfter < answeredAt;
  }

  #identical(identity: string): Recorded[] {
    return this.#byIdentity.get(identity) ?? [];
  }

  #alike(content: string): Recorded[] {
    return [...(this.#byContent.get(content) ?? [])];
  }
}

function wasPrompt({ branch }: CallSite): boolean {
  return branch !== undefined;
}

/**
 * Whether the delivery that the call followed has come without it: something else that it awaited ended last this time.
 * An item of `run.map` begins whichever item before it made room.
 */
function isOverdue(content: string, { identity, alike }: CallSite, { branch, past, isOfItem }: Identified): boolean {
  if (alike !== undefined) return false;
  return isOfItem || past.some((before) => promptIdentity(content, before, branch, 0) === identity);
}

/** Whether a call that is prompt now can be this one, which was late: as many alike calls came before it. */
function mayHaveBeenLate(callSite: CallSite, { earlier }: Identified): boolean {
  return !wasPrompt(callSite) && (callSite.alike ?? 1) === earlier + 1;
}

function listOf<List>(lists: Map<string, List>, key: string, make: () => List): List {
  const known = lists.get(key);
  if (known !== undefined) return known;
  const made = make();
  lists.set(key, made);
  return made;
}
