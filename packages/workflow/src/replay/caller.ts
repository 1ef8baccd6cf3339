import { addressOf } from "@aikirun/lib/internal";
import type { Identified, Unkeyed, Unnumbered } from "./call.ts";
import type { Drain } from "./drain.ts";
import { nested } from "./errors.ts";
import { besideOf, branchOf, lateIdentity, pathIdentity, promptIdentity, unrecordedIdentity } from "./identity.ts";
import { placeOf } from "./place.ts";
import { beginningOf, type CodeOwner, currentPoint, enterPoint, type Point } from "./points.ts";

/** What a durable call is, before anything is known of when and where it is made. */
export interface What {
  readonly kind: string;
  readonly name: string | null;
  /** The key, or what stands for the input. */
  readonly content: string | null;
  /** With a key: what would stand there without it. */
  readonly unkeyed?: string | null;
  /** The name tells the call from others as a key does: the call may be recorded without it. */
  readonly isNameKey?: boolean;
  /** Where alike calls are recorded, instead of what kind, name and content say. */
  readonly at?: string;
}

/** A call that cannot be told from an earlier one, and where the code makes the two. */
export interface Clash {
  readonly identity: string;
  readonly places: string[];
}

interface Told extends Pick<Identified, "identity" | "group"> {
  readonly path: string;
  /** What the identity would be if the call were late. */
  readonly late: string;
}

/** So many late calls have their places kept, for the message of a clash. */
const keptPlaces = 1_000;

const resolved = Promise.resolve();

/** Gives every durable call of one execution its identity. */
export class Caller {
  readonly root: Point;
  /** The microtasks after a delivery are being run. */
  drain: Drain | null = null;
  /** The last delivery: its `seq`, or the value that has none yet. */
  after: number | Unnumbered = 0;
  /** The call that it answered, by its lineage. */
  delivered = "start";
  /** Those before it. */
  readonly past: string[] = [];
  /** The first late call of each identity, and where it was made. */
  #firstLate: Map<string, Error | null> | null = null;
  #derived: Map<string, { count: number; isLate: boolean }> | null = null;
  readonly #counts = new Map<string, number>();
  #together: object | null = null;

  constructor(owner: CodeOwner) {
    this.root = beginningOf(owner, "root");
  }

  /** Throws `AikiError` `NESTED_CALL` inside a task or step. The clash is null, or says that the call is ambiguous. */
  identify(what: What): { made: Identified; clash: Clash | null } {
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
    const told = this.#told(content, branch, origin);
    const unkeyed = bare === null ? null : this.#unkeyed(bare, branch, origin);
    const { identity, group } = told;
    const { owner } = this.root;
    const point: Point = { owner, branch: told.path, together, origin, isChanged, call: null, within: null };
    enterPoint(point);
    const { after, delivered, past } = this;
    const earlier = this.#count(branch === from.branch ? told.late : lateIdentity(content, branchOf(branch)));
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

  /** Of something that the engine records by itself, without a call of the handler. */
  unmade(content: string, identity: string): Identified {
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
   * Of a call that is not recorded: neither this nor the branch that goes on from it may depend on whether the call was
   * prompt, since nothing tells later what it was. The clash is null, or says that its place among others does.
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

  /** How often this was counted before. */
  #count(what: string): number {
    const before = this.#counts.get(what) ?? 0;
    this.#counts.set(what, before + 1);
    return before;
  }

  /** Tells calls that are made without awaiting anything between them. */
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
   * `path` names the branch that goes on from the call, whether the call is prompt or late.
   *
   * A call made before in the same microtasks, by code that then awaits it, has entered a point that the code beside it
   * sees, too, but only if that call was made without awaiting anything first: a prompt call must not depend on that,
   * and is told apart by the branch in which these microtasks began.
   *
   * Alike calls with different keys are counted together, too: they were alike before they had keys.
   */
  #told(content: string, branch: string, origin: string): Told {
    const late = lateIdentity(content, branch);
    if (this.drain === null) return { identity: late, path: late, group: null, late };
    const path = pathIdentity(late, this.drain.countPlace(late));
    const { nth, group } = this.drain.count(origin === branch ? late : lateIdentity(content, origin));
    return { identity: promptIdentity(content, this.drain.delivered, origin, nth), path, group, late };
  }

  #unkeyed(content: string, branch: string, origin: string): Unkeyed {
    const { identity, path, group } = this.#told(content, branch, origin);
    return { content, identity, path, group };
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

/** What the call would share with alike ones without its key; null when it has none. */
function bareContentOf(what: What): string | null {
  if (what.isNameKey === true && what.name !== null) return contentOf({ ...what, name: null }, what.content);
  return what.unkeyed === undefined ? null : contentOf(what, what.unkeyed);
}

/** What alike calls share in their addresses. */
function contentOf({ kind, name }: What, content: string | null): string {
  return addressOf(kind, name, content, 0).slice(0, -2);
}
