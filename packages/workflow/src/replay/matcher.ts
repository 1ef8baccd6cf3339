/**
 * Finds the recorded call that matches a call of the handler. Pure.
 *
 *  M1  Calls with the same identity are the same call.
 *  M2  A call with a key may be recorded without the key.
 *  M3  A call may be prompt in one execution and late in another (a cache was warm or cold). Its branch is the same.
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
  /** The identities without a key that calls with a key have taken over. */
  readonly #takenOver = new Set<string>();
  /** The identities of recorded calls without a key that calls with a key have matched. */
  readonly #matchedByKeyed = new Set<string>();

  add(call: Recorded): void {
    listOf(this.#byContent, call.content, () => new Set<Recorded>()).add(call);
    this.identify(call);
  }

  /** Also finds the call by the identity and the path of its current call site. */
  identify(call: Recorded): void {
    if (call.callSite === null) return;
    this.branches.add(call);
    const identical = listOf(this.#byIdentity, call.callSite.identity, (): Recorded[] => []);
    if (!identical.includes(call)) identical.push(call);
  }

  addEarlier({ content }: Recorded): void {
    this.#earlier.set(content, (this.#earlier.get(content) ?? 0) + 1);
  }

  /** Whether no call with a key has taken over this identity yet. Call once for each call that takes it over. */
  isFirstOf(identity: string): boolean {
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
    if (found !== null && !this.#isPreceded(made, found)) {
      // This attempt may have made the call at another time than the attempt before, and not found it.
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

  /** The only recorded call of the branch that fits, made at any time: locks may have been taken in another order. */
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

  /** Whether another branch may still make the recorded call. The code that leads to this call has not changed. */
  #mayStillBeMade(call: Recorded, { isChanged, branch }: Identified): boolean {
    return !isChanged && !isOfBranch(call, branch) && this.branches.mayMake(call);
  }

  /** Whether alike calls were ambiguous before: their order then does not identify them either. */
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
    const meant = all.filter(({ callSite }) => callSite?.identity === identity);
    for (const call of all) if (mayHaveIdentity(call, identity)) this.#ambiguousContents.add(call.content);
    const refusal: AmbiguousCalls = { identity, meant, branches: new Set([identity]) };
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
    // An earlier attempt may have recorded a call under an identity that another call has in this attempt.
    return own.find(({ callSite }) => callSite?.identity === identity) ?? own[0] ?? free[0] ?? null;
  }

  /**
   * Whether the found call of an earlier attempt came after another number of alike calls of its branch than this late
   * call, and one that was prompt is not made yet: this call is that one.
   */
  #isPreceded(made: Identified, found: Match): boolean {
    if (made.group !== null || typeof found === "string" || !found.isEarlier) return false;
    if ((found.callSite?.alike ?? 1) === earlierOf(made, found.content) + 1) return false;
    return this.#alike(found.content).some((other) => other.isEarlier && this.#wasPromptOf(other, made));
  }

  /** Whether the late call may also be another call of its branch: one that was prompt before and is not made yet. */
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
   * The contents of which this is the first call. A call that got its key since an earlier attempt counts for the
   * content without the key, too.
   */
  #firstsOf({ content, unkeyed }: Identified): ReadonlySet<string> {
    const isSeparate = unkeyed === null || unkeyed.content === unnamedSleep || this.#earlier.has(content);
    const contents = isSeparate ? [content] : [content, unkeyed.content];
    const firsts = new Set(contents.filter((one) => !this.#made.has(one)));
    for (const one of firsts) this.#made.add(one);
    return firsts;
  }

  /** M3. A call of this attempt that was recorded before the current delivery. */
  #byBranch(made: Identified, content: string, delivered: number): Match | null {
    let found: Recorded | null = null;
    for (const call of this.#byContent.get(content) ?? []) {
      const { callSite, isEarlier } = call;
      if (isEarlier) continue;
      // Calls without a call site are matched in order of recording.
      if (callSite === null) return call;
      if (!isOfBranch(call, made.branch)) continue;
      // A call that is made earlier than before may be beside a call that had already ended before.
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
    // A call made on the same path and at the same time as before would have had the same identity.
    const isOther = ({ callSite }: Recorded): boolean => {
      if (isChanged || callSite === null) return isChanged;
      if (group === null) return wasPrompt(callSite);
      return wasPrompt(callSite) ? isOverdue(content, callSite, made) : mayHaveBeenLate(content, callSite, made);
    };
    const isAside = (call: Recorded): boolean => {
      const mayBeEarly =
        !isChanged && group !== null && isBeside && call.callSite !== null && !wasPrompt(call.callSite);
      return !mayBeEarly && this.branches.wasBeside(call, made) !== isBeside;
    };
    const sameBranch = all.filter((call) => isOfBranch(call, branch) && isOther(call) && !isAside(call));
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
    // A step without a key works with what the path to it has brought, so its content does not identify it. Nor does
    // the content without the key identify a call that has got a key since.
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
 * Whether the delivery that the call followed is already past: of the values that the code awaits, another one was
 * delivered last this time. For an item of `run.map`, any earlier item may have freed its lane.
 */
function isOverdue(content: string, { identity, alike }: CallSite, { branch, past, isOfItem }: Identified): boolean {
  if (alike !== undefined) return false;
  return isOfItem || past.some((before) => promptIdentity(content, before, branch, 0) === identity);
}

/** Whether the call was prompt and alike calls of its branch were made with it. */
function hasAlikes({ callSite }: Recorded): boolean {
  return callSite?.branch !== undefined && callSite.alike !== undefined;
}

/** Whether the call had the same place among as many alike calls, after another one of the values delivered so far. */
function isOfPlace({ content, callSite }: Recorded, { identity, group, point, delivered, past }: Identified): boolean {
  if (group === null || callSite === null || (callSite.alike ?? 1) < group.count) return false;
  const places = Array.from({ length: group.count }, (_, place) => place);
  const after = (before: string, place: number): string => promptIdentity(content, before, point.origin, place);
  const place = places.find((nth) => after(delivered, nth) === identity);
  return place !== undefined && past.some((before) => after(before, place) === callSite.identity);
}

/** Whether a prompt call can match this late one: the same number of alike calls must precede it. */
function mayHaveBeenLate(content: string, callSite: CallSite, made: Identified): boolean {
  return !wasPrompt(callSite) && (callSite.alike ?? 1) === earlierOf(made, content) + 1;
}

/** How many alike calls the branch had made before; for the content without a key, those with other keys count too. */
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
