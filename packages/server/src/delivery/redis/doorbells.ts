/**
 * Rings for runs that became queued: one entry in the stream of their workflow, version and shard. It happens after the
 * commit and holds nobody up; while Redis fails, hints are dropped, and workers that are told of no streams poll.
 */

import type { Env, Logger } from "@aikirun/lib";
import { batcher } from "@aikirun/lib/internal";
import { streamKey, streamLength, streamsOf } from "@aikirun/lib/protocol";
import type { Hint } from "../ready.ts";
import type { RedisConnection, RedisTarget } from "./connection.ts";
import { type Line, redisLine } from "./line.ts";

export interface Doorbells {
  ring(hint: Hint): void;
  /** What the keys of a namespace's streams begin with; undefined while nothing is delivered through Redis. */
  streams(namespace: string): string | undefined;
  /** Resolves when the first try to reach Redis has come to something. */
  readonly tried: Promise<void>;
  /** Rings for what waits, which takes a second at most, and ends. */
  close(): Promise<void>;
}

/** Hints that wait for those before them; more are dropped. */
const maxWaiting = 10_000;
/** In one journey. */
const atOnce = 1_000;

export function redisDoorbells(target: RedisTarget, env: Env, logger: Logger): Doorbells {
  let hasWarned = false;
  const warnOnce = (policy: string) => {
    if (hasWarned) return;
    hasWarned = true;
    const redis = `${target.host}:${target.port}`;
    logger.warn("Redis may evict streams: set maxmemory-policy to noeviction", { redis, policy });
  };
  const line = redisLine({
    target,
    env,
    logger,
    meanwhile: "workers poll meanwhile",
    async opened(connection) {
      await ringForNobody(connection, target);
      await inspect(connection, warnOnce);
    },
  });
  let waiting = 0;
  let last: Promise<void> = Promise.resolve();

  const post = batcher<Hint, void>({
    max: atOnce,
    soon: env.soon,
    async send(hints) {
      await carry(line, target, hints);
      return hints.map(() => undefined);
    },
  });

  return {
    ring(hint) {
      if (line.connection !== null && waiting < maxWaiting) {
        waiting += 1;
        last = post(hint).finally(() => {
          waiting -= 1;
        });
      }
    },
    streams: (namespace) => (line.connection === null ? undefined : streamsOf(target.prefix, namespace)),
    tried: line.tried,
    async close() {
      await last;
      line.close();
    },
  };
}

/** A refusal (no memory, read only, no such right) is as bad as silence: another connection is tried after a pause. */
async function carry(line: Line, { prefix }: RedisTarget, hints: readonly Hint[]): Promise<void> {
  const { connection } = line;
  if (connection === null) return;
  const sent = hints.map((hint) => {
    const key = streamKey(streamsOf(prefix, hint.namespace), hint, hint.shardKey);
    return connection.send("XADD", key, "MAXLEN", "~", streamLength, "*", "run", hint.id);
  });
  const failed = (await Promise.allSettled(sent)).find((outcome) => outcome.status === "rejected");
  if (failed !== undefined && !isOfOneKey(failed.reason)) line.drop(failed.reason);
}

/** Something else stands at the key of one stream: all others ring. */
function isOfOneKey(reason: unknown): boolean {
  return reason instanceof Error && reason.message.startsWith("WRONGTYPE");
}

/** A Redis that is full, or a replica, answers everything and rings no bell: only a write shows whether it is back. */
async function ringForNobody(connection: RedisConnection, { prefix }: RedisTarget): Promise<void> {
  await connection.send("XADD", `${prefix}:test`, "MAXLEN", 1, "*", "run", "none");
}

/** A stream that is evicted takes its doorbells along: they are then late by seconds. Who may not look looks not. */
async function inspect(connection: RedisConnection, warn: (policy: string) => void): Promise<void> {
  const said = await connection.send("INFO", "memory").catch(() => "");
  const policy = /maxmemory_policy:(\S+)/.exec(String(said))?.[1];
  if (policy !== undefined && policy !== "noeviction") warn(policy);
}
