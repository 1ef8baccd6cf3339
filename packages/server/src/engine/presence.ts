/** Which workers are alive, as their claims and heartbeats tell: so that a queued run can say that nobody serves it. */

import type { Env } from "@aikirun/lib";
import type { ClaimRequest } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";

export interface Presence {
  saw(namespace: string, request: ClaimRequest): void;
  /** A full worker claims nothing, but its heart beats. */
  renewed(session: string): void;
  isServed(run: Run): boolean;
}

/** A worker that has not asked for so long is gone: longer than the longest wait of a claim. Milliseconds. */
const aliveMs = 90_000;

interface Live {
  namespace: string;
  request: ClaimRequest;
  seenAt: number;
}

export function livePresence(env: Env): Presence {
  const live = new Map<string, Live>();
  return {
    saw(namespace, request) {
      // One that only reclaims its own serves what it served before.
      const last = request.serves.length === 0 ? live.get(request.session)?.request : undefined;
      live.set(request.session, { namespace, request: last ?? request, seenAt: env.elapsed() });
    },
    renewed(session) {
      const worker = live.get(session);
      if (worker !== undefined) {
        worker.seenAt = env.elapsed();
      }
    },
    isServed(run) {
      for (const [session, { namespace, request, seenAt }] of live) {
        if (env.elapsed() - seenAt > aliveMs) {
          live.delete(session);
        } else if (namespace === run.namespace && serves(request, run)) {
          return true;
        }
      }
      return false;
    },
  };
}

function serves({ serves, shardKeys }: ClaimRequest, run: Run): boolean {
  const inShard = run.shardKey === null ? shardKeys.length === 0 : shardKeys.includes(run.shardKey);
  return inShard && serves.some(({ name, versionId }) => name === run.name && versionId === run.versionId);
}
