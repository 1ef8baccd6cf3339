/** What this server itself has heard of workers, and when the database is to be told of it. Milliseconds. */

import type { ClaimRequest, RenewRequest, WorkerLoad } from "@aikirun/lib/protocol";
import type { Sighting } from "../storage/sighting.ts";

/** One worker's process. */
export interface Heard {
  readonly namespace: string;
  readonly session: string;
  /** What its claims tell; null while only heartbeats came here: its claims go to another server. */
  about: Pick<ClaimRequest, "worker" | "serves" | "shardKeys"> | null;
  load: WorkerLoad | undefined;
  /** How long any worker counts as alive after its last claim or heartbeat, at least. */
  readonly aliveMs: number;
  /** How long this one does: as long as its lease, if that is longer. */
  patienceMs: number;
  hasLeft: boolean;
  /** The first sign and the last, by the monotonic clock. */
  since: number;
  heardAt: number;
  /** When the database was last told; minus infinity: never what the claims tell. */
  toldAt: number;
  /** When it is to be told next; infinity: nothing is new. */
  tellAt: number;
}

/** Who comes or serves something else is told so soon; all that happens until then goes along. */
const newsMs = 250;
/** How many times a load is told, at most, in the time that a worker counts as alive without another sign. */
const loadsWhileAlive = 18;
/** How many times a sign of life is told in that time: some may be lost without consequence. */
const signsWhileAlive = 6;

/** All that were heard of, by namespace and session. */
export class HeardWorkers {
  readonly #namespaces = new Map<string, Map<string, Heard>>();
  readonly #aliveMs: number;

  /** `aliveMs`: how long a worker counts as alive after its last sign, at least. */
  constructor(aliveMs: number) {
    this.#aliveMs = aliveMs;
  }

  /** What was heard of this one, if only now. */
  of(namespace: string, session: string, now: number): Heard {
    const sessions = this.#namespaces.get(namespace) ?? new Map<string, Heard>();
    this.#namespaces.set(namespace, sessions);
    const heard = sessions.get(session) ?? newlyHeard(namespace, session, now, this.#aliveMs);
    sessions.set(session, heard);
    return heard;
  }

  in(namespace: string): Iterable<Heard> {
    return this.#namespaces.get(namespace)?.values() ?? [];
  }

  *all(): Generator<Heard> {
    for (const sessions of this.#namespaces.values()) {
      yield* sessions.values();
    }
  }

  /** Forgets the dead of whom everything is told. */
  prune(now: number): void {
    for (const [namespace, sessions] of this.#namespaces) {
      for (const [session, { tellAt, heardAt, patienceMs }] of sessions) {
        if (tellAt === Number.POSITIVE_INFINITY && now - heardAt >= patienceMs) {
          sessions.delete(session);
        }
      }
      if (sessions.size === 0) {
        this.#namespaces.delete(namespace);
      }
    }
  }
}

function newlyHeard(namespace: string, session: string, now: number, aliveMs: number): Heard {
  return {
    namespace,
    session,
    about: null,
    load: undefined,
    aliveMs,
    patienceMs: aliveMs,
    hasLeft: false,
    since: now,
    heardAt: now,
    toldAt: Number.NEGATIVE_INFINITY,
    tellAt: Number.POSITIVE_INFINITY,
  };
}

/** A claim says what the worker serves, unless it only reclaims the caller's own runs. */
export function hearClaim(heard: Heard, request: ClaimRequest, now: number): void {
  if (heard.hasLeft) {
    return;
  }
  const { worker, serves, shardKeys } = request;
  const isNews = serves.length > 0 && (heard.about === null || !isSame(heard.about, request));
  if (isNews) {
    heard.toldAt = heard.about === null ? Number.NEGATIVE_INFINITY : heard.toldAt;
    heard.about = { worker, serves, shardKeys };
  }
  hear(heard, request, now, isNews);
}

/** A heartbeat. One that says goodbye is the last that is heard of a session, which is made per process. */
export function hearRenewal(heard: Heard, request: RenewRequest, now: number): void {
  if (heard.hasLeft) {
    return;
  }
  hear(heard, request, now, false);
  if (request.leaving === true) {
    heard.hasLeft = true;
    heard.tellAt = now;
  }
}

function hear(
  heard: Heard,
  { leaseMs, load }: Pick<RenewRequest, "leaseMs" | "load">,
  now: number,
  isNews: boolean,
): void {
  const patienceMs = Math.max(heard.aliveMs, leaseMs);
  const isBusier = load !== undefined && (load.busy !== heard.load?.busy || load.slots !== heard.load.slots);
  const nextMs = heard.aliveMs / (isBusier ? loadsWhileAlive : signsWhileAlive);
  const isSoon = isNews || patienceMs !== heard.patienceMs;
  const tellAt = isSoon ? now + newsMs : Math.max(now + newsMs, heard.toldAt + nextMs);
  heard.tellAt = Math.min(heard.tellAt, tellAt);
  heard.patienceMs = patienceMs;
  heard.load = load ?? heard.load;
  heard.heardAt = now;
}

/**
 * As the database is told. `ahead`: how far its clock is ahead of the monotonic one. `stored`: what it knows itself;
 * null when nobody knows what the worker serves.
 */
export function sightingOf(heard: Heard, ahead: number, stored: Sighting | undefined): Sighting | null {
  const { namespace, session, load = stored?.load } = heard;
  const about = heard.about ?? stored ?? (heard.hasLeft ? unknown : null);
  if (about === null) {
    return null;
  }
  const { worker, serves, shardKeys } = about;
  const seenAt = Math.round(heard.heardAt + ahead);
  return {
    namespace,
    session,
    worker,
    serves,
    shardKeys,
    ...(load === undefined ? {} : { load }),
    since: Math.min(Math.round(heard.since + ahead), stored?.since ?? Number.POSITIVE_INFINITY),
    seenAt,
    liveUntil: heard.hasLeft ? 0 : seenAt + heard.patienceMs,
  };
}

/** What a goodbye says of the worker: nobody reads it. */
const unknown = { worker: "", serves: [], shardKeys: [] };

function isSame(about: NonNullable<Heard["about"]>, { worker, serves, shardKeys }: ClaimRequest): boolean {
  return (
    about.worker === worker &&
    (about.serves === serves || isEqual(about.serves, serves, isOne)) &&
    (about.shardKeys === shardKeys || isEqual(about.shardKeys, shardKeys, Object.is))
  );
}

function isOne(left: ClaimRequest["serves"][number], right: ClaimRequest["serves"][number]): boolean {
  return left.name === right.name && left.versionId === right.versionId;
}

function isEqual<Item>(left: Item[], right: Item[], isOne: (left: Item, right: Item) => boolean): boolean {
  return left.length === right.length && left.every((item, at) => right[at] !== undefined && isOne(item, right[at]));
}
