import { addressOf } from "@aikirun/lib/internal";
import type { Identified, Unkeyed, Unnumbered } from "./call.ts";
import type { Drain } from "./drain.ts";
import { nested } from "./errors.ts";
import { besideOf, branchAfterNth, branchOf, lateIdentity, promptIdentity, unrecordedIdentity } from "./identity.ts";
import { placeOf } from "./place.ts";
import { beginningOf, type CodeOwner, currentPoint, enterPoint, type Point } from "./points.ts";

/** What a durable call does, independent of when and where it is made. */
export interface CallDescription {
  readonly kind: string;
  readonly name: string | null;
  /** The key, or the hash of the input. */
  readonly content: string | null;
  /** For a call with a key: the `content` that it would have without the key. */
  readonly unkeyed?: string | null;
  /** Whether the name is used like a key: an earlier version of the code may have recorded the call without a name. */
  readonly isNameKey?: boolean;
  /** Replaces the address that alike calls share, which is otherwise derived from kind, name and content. */
  readonly at?: string;
}

/** A call that cannot be distinguished from an earlier one, and the places in the code that make the two. */
export interface Clash {
  readonly identity: string;
  readonly places: string[];
}

interface CallNames extends Pick<Identified, "identity" | "group"> {
  readonly branchAfter: string;
  /** What the identity would be if the call were late. */
  readonly late: string;
}

/** The maximum number of late calls whose place in the code is kept for the message of a clash. */
const keptPlaces = 1_000;

const resolved = Promise.resolve();

/** Gives every durable call of one execution its identity. */
export class CallIdentifier {
  readonly root: Point;
  /** The current drain; null when no microtasks of a delivery are running. */
  drain: Drain | null = null;
  /** The last delivery: its `seq`, or the delivered value if it has no `seq` yet. */
  after: number | Unnumbered = 0;
  /** The first identity of the call whose value was delivered last. */
  delivered = "start";
  /** The first identities of the calls whose values were delivered before the last delivery. */
  readonly past: string[] = [];
  /** The first late call of each identity, and where it was made. */
  #firstLate: Map<string, Error | null> | null = null;
  #derived: Map<string, { count: number; isLate: boolean }> | null = null;
  readonly #counts = new Map<string, number>();
  #together: object | null = null;

  constructor(owner: CodeOwner) {
    this.root = beginningOf(owner, "root");
  }

  /** Throws `AikiError` `NESTED_CALL` inside a task or step. `clash` is not null when the call is ambiguous. */
  identify(what: CallDescription): { made: Identified; clash: Clash | null } {
    const at = currentPoint();
    if (at !== undefined && at.within !== null) throw nested(what, at.within);
    const from = at?.owner === this.root.owner ? at : this.root;
    const isBeside = from.call?.open === true;
    const together = this.drain ?? this.#madeTogether();
    const isTogether = from.together === together;
    const branch = isBeside && isTogether ? besideOf(from.branch) : from.branch; // mutant: branch
    const origin = this.drain !== null && isTogether ? from.origin : branch;
    const isChanged = this.drain?.isChanged ?? from.isChanged;
    const content = what.at ?? contentOf(what, what.content);
    const bare = bareContentOf(what);
    const names = this.#namesOf(content, branch, origin);
    const unkeyed = bare === null ? null : this.#unkeyed(bare, branch, origin);
    const { identity, group } = names;
    const { owner } = this.root;
    const point: Point = { owner, branch: names.branchAfter, together, origin, isChanged, call: null, within: null };
    enterPoint(point);
    const { after, delivered, past } = this;
    const earlier = this.#countAlike(content, branch, names.late);
    const made: Identified = {
      content,
      identity,
      branch,
      group,
      unkeyed,
      after,
      past,
      delivered,
      point,
      isChanged,
      isBeside,
      isOfItem: from !== this.root && from.together === null,
      earlier,
    };
    return { made, clash: group === null ? this.#clash(identity) : null };
  }

  /** The identity of a fact that the replay records by itself, without a call of the handler. */
  identifyFact(content: string, identity: string): Identified {
    const { root, after, past, delivered } = this;
    const { branch } = root;
    const flags = { isChanged: false, isBeside: false, isOfItem: false };
    const point = { ...root };
    return {
      content,
      identity,
      branch,
      group: null,
      unkeyed: null,
      after,
      past,
      delivered,
      point,
      ...flags,
      earlier: 0,
    };
  }

  /**
   * Identifies a call that is not recorded. A replay cannot know whether the call was prompt. So neither the identity
   * of the call nor the branch after it depends on that: alike calls of a branch are numbered in the order in which
   * they are made. `clash` is not null if one of them is late, because their order then depends on timing.
   */
  derive({ content, branch, point, group, identity }: Identified): { identity: string; clash: Clash | null } {
    const from = `${content}~${branchOf(branch)}`;
    const isLate = group === null;
    this.#derived ??= new Map();
    const known = this.#derived.get(from);
    const derived = unrecordedIdentity(from, known?.count ?? 0);
    point.branch = derived;
    if (known === undefined) {
      this.#derived.set(from, { count: 1, isLate });
      return { identity: derived, clash: null };
    }
    known.count += 1;
    const places = [placeOf(null), placeOf(new Error())];
    const clash = known.isLate || isLate ? { identity, places } : null;
    known.isLate ||= isLate;
    return { identity: derived, clash };
  }

  /** Counts one more call of this content and branch. Returns how many were counted before. */
  #countAlike(content: string, branch: string, late: string): number {
    const key = branch === branchOf(branch) ? late : lateIdentity(content, branchOf(branch));
    const before = this.#counts.get(key) ?? 0;
    this.#counts.set(key, before + 1);
    return before;
  }

  /** The same object for all calls that are made without an await between them. */
  #madeTogether(): object {
    if (this.#together === null) {
      this.#together = {};
      void resolved.then(() => {
        this.#together = null;
      });
    }
    return this.#together;
  }

  /**
   * `branchAfter` names the branch that continues after the call. It is the same whether the call is prompt or late.
   *
   * Each call enters a new point. If two calls are made in the same microtasks, the code that makes the second one may
   * or may not see the point of the first one. This depends on the position of an `await`. The identity of a prompt
   * call must not depend on it, so it uses the branch in which these microtasks began.
   *
   * Calls that differ only in their keys are counted together, because they were alike before they had keys.
   */
  #namesOf(content: string, branch: string, origin: string): CallNames {
    const late = lateIdentity(content, branch);
    if (this.drain === null) return { identity: late, branchAfter: late, group: null, late };
    const branchAfter = branchAfterNth(late, this.drain.countPlace(late));
    const { nth, group } = this.drain.count(origin === branch ? late : lateIdentity(content, origin));
    return { identity: promptIdentity(content, this.drain.delivered, origin, nth), branchAfter, group, late };
  }

  #unkeyed(content: string, branch: string, origin: string): Unkeyed {
    const { identity, branchAfter, group, late } = this.#namesOf(content, branch, origin);
    return { content, identity, branchAfter, group, earlier: this.#countAlike(content, branch, late) };
  }

  #clash(identity: string): Clash | null {
    this.#firstLate ??= new Map();
    const first = this.#firstLate.get(identity);
    const here = this.#firstLate.size < keptPlaces || first !== undefined ? new Error() : null;
    if (first === undefined) {
      this.#firstLate.set(identity, here);
      return null;
    }
    return { identity, places: [placeOf(first), placeOf(here)] };
  }
}

/** The content that the call would have without its key; null when it has no key. */
function bareContentOf(what: CallDescription): string | null {
  if (what.isNameKey === true && what.name !== null) return contentOf({ ...what, name: null }, what.content);
  return what.unkeyed === undefined ? null : contentOf(what, what.unkeyed);
}

/** The part of the address that all alike calls share. */
function contentOf({ kind, name }: CallDescription, content: string | null): string {
  return addressOf(kind, name, content, 0).slice(0, -2);
}
