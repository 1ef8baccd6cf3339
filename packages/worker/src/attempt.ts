/** One try of a claim, which may be wanted sooner than the server that holds it would answer. */

import type { Env } from "@aikirun/lib";
import type { Api, ClaimReply, ClaimRequest } from "@aikirun/lib/protocol";

export interface Attempt {
  readonly reply: Promise<ClaimReply>;
  /** Whether it was given up: then `reply` rejects. */
  readonly isDropped: boolean;
  /** The server is to answer now. If it has no such claim, or says nothing for a while, the attempt is dropped. */
  recall(): void;
  drop(): void;
}

/** A server that says nothing for so long is not waited for. Milliseconds. */
const patienceMs = 1_000;

export function attempt(api: Api, env: Pick<Env, "after">, request: ClaimRequest): Attempt {
  const dropped = new AbortController();
  const answered = new AbortController();
  const drop = () => dropped.abort();
  let isRecalled = request.waitMs === 0;
  return {
    reply: api.claim(request, { signal: dropped.signal }).finally(() => answered.abort()),
    get isDropped() {
      return dropped.signal.aborted;
    },
    recall() {
      if (isRecalled) {
        return;
      }
      isRecalled = true;
      const cancel = env.after(patienceMs, drop);
      answered.signal.addEventListener("abort", cancel, { once: true });
      api.claim(recallOf(request), { signal: answered.signal }).then(
        ({ held }) => {
          cancel();
          // Another server may hold it.
          if (held !== true) drop();
        },
        () => {},
      );
    },
    drop,
  };
}

function recallOf({ claimId, session, worker, leaseMs }: ClaimRequest): ClaimRequest {
  return { claimId, session, worker, leaseMs, serves: [], shardKeys: [], limit: 1, waitMs: 0, recall: true };
}
