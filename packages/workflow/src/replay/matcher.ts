/**
 * Finds the recorded call that matches a call of the handler. Pure.
 *
 *  M1  Calls with the same identity are the same call.
 *  M2  A call with a key may be recorded without the key.
 *  M3  A call may be prompt in one execution and late in another, for example because it follows a read of a cache. Its
 *      branch is the same.
 *  M4  In a later attempt of the run, the code may reach the same call by another path. The branch or the content then
 *      finds the recorded call, if only one recorded call fits.
 *  M5  If several recorded calls fit, the call is ambiguous.
 */

import type { CallSite } from "@aikirun/lib/protocol";
import { Branches } from "./branches.ts";
import type { Identified } from "./call.ts";
import { lateIdentity, promptIdentity } from "./identity.ts";
import { isOfBranch, type Recorded, recordedAt, wasPrompt } from "./recorded.ts";
import { type AmbiguousCalls, dependentOn } from "./refusal.ts";

/** A named sleep matches a sleep recorded without a name only by identity (M2), because unnamed sleeps are common. */
const unnamedSleep = "sleep:";

export type Match = Recorded | "new" | "ambiguous";

export class Matcher {
  readonly branches: Branches = new Branches();
  readonly #byIdentity = new Map<string, Recorded[]>();
  /** Calls that the handler has not made again yet, by content. */
  readonly #byContent = new Map<string, Set<Recorded>>();
  /** By content: how many calls earlier attempts recorded. */
  readonly #earlier = new Map<string, number>();
  /** The contents of the calls that this execution has made. */
  readonly #made = new Set<string>();
  /** The identities of ambiguous calls. */
  readonly #ambiguous = new Set<string>();
  /** The contents of ambiguous calls. */
  readonly #ambiguousContents = new Set<string>();
  /** The identities of recorded late calls that prompt calls have matched. */
  readonly #matchedByPrompt = new Set<string>();
  /** The identities without a key under which calls that now have a key are still recorded. */
  readonly #takenOver = new Set<string>();
  /** The identities of recorded calls without a key that calls with a key have matched. */
  readonly #matchedByKeyed = new Set<string>();

  add(call: Recorded): void {
    listOf(this.#byContent, call.content, () => new Set<Recorded>()).add(call);
    this.identify(call);
  }

  /** Also finds the call by the identity of its current call site. */
  identify(call: Recorded): void {
    if (call.callSite === null) return;
    this.branches.add(call);
    const identical = listOf(this.#byIdentity, call.callSite.identity, (): Recorded[] => []);
    if (!identical.includes(call)) identical.push(call);
  }

  addEarlier({ content }: Recorded): void {
    this.#earlier.set(content, (this.#earlier.get(content) ?? 0) + 1);
  }

  /** Takes over an identity without a key for a call with a key. Returns false if another call has taken it over. */
  takeOver(identity: string): boolean {
    return this.#takenOver.size < this.#takenOver.add(identity).size;
  }

  claim(call: Recorded): void {
    this.#byContent.get(call.content)?.delete(call);
  }

  /** `delivered`: the `seq` of the last delivery. */
  match(made: Identified, delivered: number): Match {
    const firsts = this.#firstsOf(made);
    if (this.#ambiguous.has(made.identity)) return "ambiguous";
    if (made.group === null && this.#matchedByPrompt.has(made.identity)) return "ambiguous";
    const found = this.#exact(made.identity) ?? this.#withoutKey(made); // mutant: found-without-key
    if (found !== null && !this.#fitsPromptCallBetter(made, found)) {
      // This attempt may have made the call at another time than the earlier attempt, and recorded it as a new call.
      const own = typeof found === "string" || !found.isEarlier ? null : this.#byBranch(made, made.content, delivered);
      if (own !== null && typeof own !== "string") return own;
      return this.#hasOtherMatch(made, delivered, found) ? "ambiguous" : found;
    }
    const match = this.#byBranch(made, made.content, delivered) ?? this.#fromEarlier(made, firsts);
    if (made.group !== null && typeof match !== "string" && match.callSite !== null && !wasPrompt(match.callSite)) {
      this.#matchedByPrompt.add(match.callSite.identity);
    }
    return match;
  }

  /**
   * The recorded call of the branch that fits, if it is the only one. It may have been made at another time: in-process
   * locks may be acquired in another order on a replay.
   */
  soleOfBranch(made: Identified): Recorded | null {
    if (this.#isAmbiguous(made)) return null;
    const fitting = this.#alike(made.content).filter(
      (call) =>
        !call.isEarlier && isOfBranch(call, made.branch) && this.branches.wasBeside(call, made) === made.isBeside,
    );
    const [first, second] = fitting.length > 1 ? fitting.filter((call) => isOfPlace(call, made)) : fitting;
    if (first === undefined || second !== undefined) return null;
    if (!hasAlikes(first)) return first;
    if (made.group === null || !isOfPlace(first, made)) return null;
    made.group.recorded ??= first;
    return first;
  }

  /** The first recorded call that fits, in order of recording. For code that is known to have changed. */
  first(made: Identified): Recorded | undefined {
    if (this.#isAmbiguous(made)) return undefined;
    const { content, unkeyed } = made;
    const alike = [...this.#alike(content), ...(unkeyed === null ? [] : this.#alike(unkeyed.content))];
    const fitting = alike.filter((call) => !call.isEarlier && !this.#mayStillBeMade(call, made));
    return fitting.sort((a, b) => recordedAt(a) - recordedAt(b))[0];
  }

  /** Whether another branch may still make the recorded call, because the path to this call has not changed. */
  #mayStillBeMade(call: Recorded, { isChanged, branch }: Identified): boolean {
    return !isChanged && !isOfBranch(call, branch) && this.branches.mayMake(call);
  }

  /** Whether alike calls were refused as ambiguous: they cannot be matched by their order either. */
  #isAmbiguous({ content, unkeyed }: Identified): boolean {
    return this.#ambiguousContents.has(content) || (unkeyed !== null && this.#ambiguousContents.has(unkeyed.content));
  }

  /**
   * Removes the recorded calls of this identity, the calls that cannot be distinguished from them, and all calls made
   * from the branches that continue after these.
   */
  markAmbiguous(identity: string): { refusal: AmbiguousCalls; removed: Recorded[] } {
    this.#ambiguous.add(identity);
    const all = [...this.#byContent.values()].flatMap((calls) => [...calls]);
    const recorded = all.filter(({ callSite }) => callSite?.identity === identity);
    for (const call of all) if (mayHaveIdentity(call, identity)) this.#ambiguousContents.add(call.content);
    const refusal: AmbiguousCalls = { identity, recorded, branches: new Set([identity]) };
    return { refusal, removed: this.#removeDependent(all, refusal) };
  }

  /** Removes the waits that depend on the refused calls. `waits` were open when the calls were refused. */
  markWaitsAmbiguous(waits: readonly Recorded[], refusal: AmbiguousCalls): Recorded[] {
    return this.#removeDependent(waits, refusal);
  }

  #removeDependent(calls: readonly Recorded[], refusal: AmbiguousCalls): Recorded[] {
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
    const own = free.filter(({ isEarlier }) => !isEarlier);
    // Two calls may share an identity: an earlier attempt used it for one of them, and this attempt for the other.
    return own.find(({ callSite }) => callSite?.identity === identity) ?? own[0] ?? free[0] ?? null;
  }

  /**
   * Whether this late call is not the call of an earlier attempt that has the same identity, but an alike call of the
   * same branch that was prompt. This is so if the two late calls follow different numbers of alike calls of the
   * branch, and a prompt one is not made again yet.
   */
  #fitsPromptCallBetter(made: Identified, found: Match): boolean {
    if (made.group !== null || typeof found === "string" || !found.isEarlier) return false;
    if ((found.callSite?.alike ?? 1) === earlierOf(made, found.content) + 1) return false;
    return this.#alike(found.content).some((other) => other.isEarlier && this.#wasPromptOf(other, made));
  }

  /** Whether the late call also fits another call of its branch, which was prompt and is not made again yet. */
  #hasOtherMatch(made: Identified, delivered: number, found: Match): boolean {
    if (made.group !== null || typeof found === "string" || found.isEarlier) return false;
    return this.#alike(found.content).some((other) => {
      if (other === found || other.isEarlier || (other.callSite?.madeAfter ?? 0) > delivered) return false;
      return this.#wasPromptOf(other, made);
    });
  }

  /** Whether the recorded call was prompt, and was made from the branch of this call. */
  #wasPromptOf(other: Recorded, made: Identified): boolean {
    if (other.callSite?.branch === undefined || !isOfBranch(other, made.branch)) return false;
    return this.branches.wasBeside(other, made) === made.isBeside;
  }

  #withoutKey({ unkeyed, group }: Identified): Match | null {
    if (unkeyed === null || this.#ambiguous.has(unkeyed.identity)) return null;
    const found = this.#exact(unkeyed.identity);
    if (found === null) return group === null && this.#matchedByKeyed.has(unkeyed.identity) ? "ambiguous" : null;
    this.#matchedByKeyed.add(unkeyed.identity);
    return found;
  }

  /**
   * The contents of which this is the first call of this execution. If the call got its key after an earlier attempt,
   * it also counts as a call of the content without the key.
   */
  #firstsOf({ content, unkeyed }: Identified): ReadonlySet<string> {
    const isSeparate = unkeyed === null || unkeyed.content === unnamedSleep || this.#earlier.has(content);
    const contents = isSeparate ? [content] : [content, unkeyed.content];
    const firsts = new Set(contents.filter((one) => !this.#made.has(one)));
    for (const one of firsts) this.#made.add(one);
    return firsts;
  }

  /** M3. The call of this attempt that the same branch made; null if none fits, `ambiguous` if several fit. */
  #byBranch(made: Identified, content: string, delivered: number): Match | null {
    let found: Recorded | null = null;
    for (const call of this.#byContent.get(content) ?? []) {
      const { callSite, isEarlier } = call;
      if (isEarlier) continue;
      // Calls without a call site are matched in order of recording.
      if (callSite === null) return call;
      if (!isOfBranch(call, made.branch)) continue;
      // If the call is made earlier than it was recorded, the call before it may still be open this time.
      const isEarly = made.group !== null && made.isBeside && callSite.madeAfter > delivered;
      if (!isEarly && this.branches.wasBeside(call, made) !== made.isBeside) continue;
      if (
        made.group === null
          ? !wasPrompt(callSite) || callSite.madeAfter > delivered
          : !mayHaveBeenLate(content, callSite, made)
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
    const own = this.#reusable(made, content, firsts);
    if (own !== "new" || unkeyed === null || unkeyed.content === unnamedSleep) return own;
    // A call with a key is a separate call, so it is new when the call without the key is ambiguous.
    const other = this.#reusable(made, unkeyed.content, firsts);
    return other === "ambiguous" ? "new" : other;
  }

  #reusable(made: Identified, content: string, firsts: ReadonlySet<string>): Match {
    const { branch, delivered, group, isChanged, isBeside } = made;
    const all = this.#alike(content).filter(({ isEarlier }) => isEarlier);
    // A call on the same path after the same delivery has the same identity. So one of the two must differ here.
    const isOther = ({ callSite }: Recorded): boolean => {
      if (isChanged || callSite === null) return isChanged;
      if (group === null) return wasPrompt(callSite);
      return wasPrompt(callSite) ? isOverdue(content, callSite, made) : mayHaveBeenLate(content, callSite, made);
    };
    const isOnOtherSide = (call: Recorded): boolean => {
      const mayBeEarly =
        !isChanged && group !== null && isBeside && call.callSite !== null && !wasPrompt(call.callSite);
      return !mayBeEarly && this.branches.wasBeside(call, made) !== isBeside;
    };
    const sameBranch = all.filter((call) => isOfBranch(call, branch) && isOther(call) && !isOnOtherSide(call));
    const [found] = sameBranch;
    if (found !== undefined && sameBranch.length === 1) return found;
    const isRepeatable = /^(sleep|now):/.test(content);
    if (found !== undefined) {
      // The call that was prompt after the same delivery, or after the delivery that began its branch.
      const prompt = [delivered, branch].map((before) => promptIdentity(content, before, branch, 0));
      const one = sameBranch.find(({ callSite }) => callSite !== null && prompt.includes(callSite.identity));
      return one ?? (isRepeatable ? "new" : "ambiguous");
    }
    const [only] = all;
    // On the same path the code made no other call here: this call had no value yet. But a key says which call of its
    // branch it is, even if non-durable work has let other branches continue first.
    const isKeyed = made.unkeyed !== null && content === made.content;
    const isSame = isKeyed && only !== undefined && isOfBranch(only, branch);
    // The result of a step depends on the values before it. So the content of a step without a key does not identify
    // it. If a call has got a key, its content without the key does not identify it either.
    const isAny = content.startsWith("step:") ? !isKeyed : content !== made.content;
    if (only === undefined || isAny || !(isChanged || isSame)) return "new";
    if (firsts.has(content) && this.#earlier.get(content) === 1) return only;
    if (!isChanged) return "new";
    return isRepeatable || all.every(({ entry }) => entry === null) ? "new" : "ambiguous";
  }

  #identical(identity: string): Recorded[] {
    return this.#byIdentity.get(identity) ?? [];
  }

  #alike(content: string): Recorded[] {
    return [...(this.#byContent.get(content) ?? [])];
  }
}

/** Whether the call has this identity, or would have it if it were late. */
function mayHaveIdentity({ content, callSite }: Recorded, identity: string): boolean {
  if (callSite === null) return false;
  return callSite.identity === identity || (wasPrompt(callSite) && lateIdentity(content, callSite.branch) === identity);
}

/**
 * Whether the delivery that the recorded call followed is not the last one. The code awaits several values, and another
 * of them was delivered last this time. The first call of an item of `run.map` may follow any earlier item.
 */
function isOverdue(content: string, { identity, alike }: CallSite, { branch, past, isOfItem }: Identified): boolean {
  if (alike !== undefined) return false;
  return isOfItem || past.some((before) => promptIdentity(content, before, branch, 0) === identity);
}

/** Whether the call was prompt and alike calls of its branch were made with it. */
function hasAlikes({ callSite }: Recorded): boolean {
  return callSite?.branch !== undefined && callSite.alike !== undefined;
}

/** Whether the recorded call had the same place among its alike calls, but followed an earlier delivery. */
function isOfPlace({ content, callSite }: Recorded, { identity, group, point, delivered, past }: Identified): boolean {
  if (group === null || callSite === null || (callSite.alike ?? 1) < group.count) return false;
  const places = Array.from({ length: group.count }, (_, place) => place);
  const after = (before: string, place: number): string => promptIdentity(content, before, point.origin, place);
  const place = places.find((nth) => after(delivered, nth) === identity);
  return place !== undefined && past.some((before) => after(before, place) === callSite.identity);
}

/** Whether a prompt call can match this recorded late call: the same number of alike calls must precede both. */
function mayHaveBeenLate(content: string, callSite: CallSite, made: Identified): boolean {
  return !wasPrompt(callSite) && (callSite.alike ?? 1) === earlierOf(made, content) + 1;
}

/** How many alike calls the branch had made before. For the content without a key, calls with other keys count too. */
function earlierOf({ content, earlier, unkeyed }: Identified, recorded: string): number {
  return unkeyed === null || recorded === content ? earlier : unkeyed.earlier;
}

function listOf<List>(lists: Map<string, List>, key: string, make: () => List): List {
  const known = lists.get(key);
  if (known !== undefined) return known;
  const made = make();
  lists.set(key, made);
  return made;
}
