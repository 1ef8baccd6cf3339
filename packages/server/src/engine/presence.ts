/**
 * Which workers are alive, as their claims and heartbeats tell, here and on every other server of the database: so that
 * a queued run can say that nobody serves it. What is heard here is told to the database behind what it is heard with;
 * what others heard is read when somebody asks, once a second at most.
 */

import type { Env, Logger } from "@aikirun/lib";
import type { ClaimRequest, LiveWorker, RenewRequest } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import type { Sighting } from "../storage/sighting.ts";
import type { Storage } from "../storage/storage.ts";
import { type Heard, HeardWorkers, hearClaim, hearRenewal, sightingOf } from "./heard.ts";
import { telling } from "./telling.ts";

export interface Presence {
  claimed(namespace: string, request: ClaimRequest): void;
  /** A full worker claims nothing, but its heart beats; one that stops says so. */
  renewed(namespace: string, request: RenewRequest): void;
  /** Live workers of the namespace, by id and then by session. */
  list(namespace: string): Promise<LiveWorker[]>;
  /** Says of these runs whether a live worker can run them; of others than queued ones nobody wants to know. */
  serving(namespace: string, runs: readonly Run[]): Promise<(run: Run) => boolean>;
  /** Writes down who said goodbye, and nothing after that. Never rejects. */
  close(): Promise<void>;
}

export interface PresenceOptions {
  env: Env;
  storage: Pick<Storage, "read" | "transaction">;
  logger: Logger;
  /** How long a worker counts as alive after its last sign, at least. Milliseconds. */
  aliveMs: number;
}

/** What the database says is good for so long. Milliseconds. */
const knownMs = 1_000;

/** What the database said. `ahead`: how far its clock is ahead of the monotonic one. Milliseconds. */
interface Known {
  sightings: Sighting[];
  ahead: number;
}

interface Question {
  /** When it was asked, by the monotonic clock. */
  at: number;
  reply: Promise<Known>;
}

export function livePresence({ env, storage, logger, aliveMs }: PresenceOptions): Presence {
  const heard = new HeardWorkers(aliveMs);
  const told = telling({ env, storage, heard, logger });
  const asked = new Map<string, Question>();

  const ask = (namespace: string): Question => {
    const now = env.elapsed();
    for (const [other, { at }] of asked) {
      if (now - at >= knownMs) {
        asked.delete(other);
      }
    }
    const question = asked.get(namespace) ?? { at: now, reply: read(namespace) };
    asked.set(namespace, question);
    return question;
  };

  const read = (namespace: string): Promise<Known> =>
    storage.read(async (reader) => {
      const ahead = reader.now() - env.elapsed();
      return { sightings: await reader.workers(namespace, reader.now()), ahead };
    });

  const live = async (namespace: string): Promise<LiveWorker[]> => {
    const { at, reply } = ask(namespace);
    const { sightings, ahead } = await reply;
    const workers = new Map(sightings.map((sighting) => [sighting.session, sighting]));
    for (const one of heard.in(namespace)) {
      const sighting = latest(one, ahead, workers.get(one.session), at);
      if (sighting !== null) {
        workers.set(one.session, sighting);
      }
    }
    const now = env.elapsed() + ahead;
    return [...workers.values()].filter(({ liveUntil }) => liveUntil > now).map(outward);
  };

  const hear = (namespace: string, session: string): Heard => heard.of(namespace, session, env.elapsed());

  return {
    claimed(namespace, request) {
      const one = hear(namespace, request.session);
      hearClaim(one, request, env.elapsed());
      told.expect(one.tellAt);
    },
    renewed(namespace, request) {
      const one = hear(namespace, request.session);
      hearRenewal(one, request, env.elapsed());
      told.expect(one.tellAt);
    },
    async list(namespace) {
      return (await live(namespace)).sort(byWorker);
    },
    async serving(namespace, runs) {
      const isAsked = runs.some(({ state }) => state.status === "queued");
      const workers = isAsked ? await live(namespace) : [];
      return (run) => workers.some((worker) => serves(worker, run));
    },
    close: () => told.close(),
  };
}

/**
 * What was heard here, where that is later than what is stored; else null. One of whom the database was told before it
 * was asked `at`, and which it does not list, has left by way of another server.
 */
function latest(heard: Heard, ahead: number, stored: Sighting | undefined, at: number): Sighting | null {
  const isNew = heard.toldAt === Number.NEGATIVE_INFINITY || heard.toldAt >= at;
  if (stored === undefined && !isNew) {
    return null;
  }
  const sighting = sightingOf(heard, ahead, stored);
  const isLater = sighting !== null && (heard.hasLeft || sighting.seenAt >= (stored?.seenAt ?? 0));
  return isLater ? sighting : null;
}

function serves({ serves, shardKeys }: LiveWorker, run: Run): boolean {
  const inShard = run.shardKey === null ? shardKeys.length === 0 : shardKeys.includes(run.shardKey);
  return inShard && serves.some(({ name, versionId }) => name === run.name && versionId === run.versionId);
}

function outward({ namespace: _, liveUntil: __, ...worker }: Sighting): LiveWorker {
  return worker;
}

function byWorker(left: LiveWorker, right: LiveWorker): number {
  return byText(left.worker, right.worker) || byText(left.session, right.session);
}

function byText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
