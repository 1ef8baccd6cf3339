/**
 * Tells the database of workers, behind what they do and never in its way: many in a transaction, each no more often
 * than `heard.ts` says. What could not be told is told again.
 */

import { type Cancel, type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { Sighting } from "../storage/sighting.ts";
import type { Storage, Transaction } from "../storage/storage.ts";
import { type Heard, type HeardWorkers, sightingOf } from "./heard.ts";

export interface Telling {
  /** Something is to be told at this moment of the monotonic clock. */
  expect(at: number): void;
  /** Tells the goodbyes that are left: nobody else can. Never rejects. */
  close(): Promise<void>;
}

export interface TellingOptions {
  env: Env;
  storage: Pick<Storage, "transaction">;
  heard: HeardWorkers;
  logger: Logger;
}

/** Told along with others this much before its time. Milliseconds. */
const alongMs = 5_000;
/** After a failure. Milliseconds. */
const retryMs = 5_000;
/** How long the gone are remembered, so that no server brings one back that said goodbye. Milliseconds. */
const remembranceMs = 600_000;
/** Workers told of in one transaction: few enough that a blocking database blocks for milliseconds. */
const batchSize = 500;

export function telling({ env, storage, heard, logger }: TellingOptions): Telling {
  let cancel: Cancel = () => {};
  let armedFor = Number.POSITIVE_INFINITY;
  let underWay: Promise<void> | null = null;
  let forgotAt = Number.NEGATIVE_INFINITY;

  const write = async (news: Heard[]) => {
    const forgets = env.elapsed() - forgotAt >= remembranceMs;
    await storage.transaction(async (transaction) => {
      const ahead = transaction.now() - env.elapsed();
      await transaction.see(await sightings(transaction, news, ahead));
      if (forgets) {
        await transaction.forgetWorkers(transaction.now() - remembranceMs);
      }
    });
    forgotAt = forgets ? env.elapsed() : forgotAt;
  };

  const tell = async (news: Heard[]): Promise<void> => {
    if (news.length === 0) {
      return;
    }
    for (const one of news) {
      one.tellAt = Number.POSITIVE_INFINITY;
    }
    try {
      await write(news);
      for (const one of news) {
        one.toldAt = env.elapsed();
      }
    } catch (error) {
      // Faults of the storage are in the log already.
      if (!isAikiError(error)) {
        logger.error("Could not record which workers are alive, and tries again", { error });
      }
      for (const one of news) {
        one.tellAt = Math.min(one.tellAt, env.elapsed() + retryMs);
      }
    }
  };

  const untold = (until: number) => [...heard.all()].filter(({ tellAt }) => tellAt <= until).slice(0, batchSize);

  const fire = async () => {
    await tell(untold(env.elapsed() + alongMs));
    heard.prune(env.elapsed());
    underWay = null;
    for (const { tellAt } of heard.all()) {
      expect(tellAt);
    }
  };

  const expect = (at: number) => {
    if (at < armedFor && underWay === null) {
      cancel();
      armedFor = at;
      cancel = env.after(Math.max(0, at - env.elapsed()), () => {
        armedFor = Number.POSITIVE_INFINITY;
        underWay = fire();
      });
    }
  };

  return {
    expect,
    async close() {
      cancel();
      await underWay;
      armedFor = Number.NEGATIVE_INFINITY;
      cancel();
      await tell(untold(Number.MAX_VALUE).filter(({ hasLeft }) => hasLeft));
    },
  };
}

/** As the database is told; what a heartbeat does not say already stands there, if anybody ever said it. */
async function sightings(transaction: Transaction, news: Heard[], ahead: number): Promise<Sighting[]> {
  const stored = new Map<Heard, Sighting>();
  const vague = news.filter(({ about, hasLeft }) => about === null && !hasLeft);
  for (const namespace of new Set(vague.map((one) => one.namespace))) {
    const bySession = new Map((await transaction.workers(namespace, 0)).map((one) => [one.session, one]));
    for (const one of vague) {
      const known = one.namespace === namespace ? bySession.get(one.session) : undefined;
      if (known !== undefined) {
        stored.set(one, known);
      }
    }
  }
  return news.flatMap((one) => sightingOf(one, ahead, stored.get(one)) ?? []);
}
