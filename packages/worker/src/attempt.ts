/** One try of a claim, which may be wanted sooner than the server that holds it would answer. */

import type { Env } from "@aikirun/lib";
import type { Api, ClaimReply, ClaimRequest } from "@aikirun/lib/protocol";

export interface Attempt {
  readonly reply: Promise<ClaimReply>;
  /** Whether it was given up: then `reply` rejects. */
  readonly isDropped: boolean;
  /** The server that holds it is to answer now. When no answer comes the attempt is dropped after a while. */
  recall(): void;
  drop(): void;
}

/** A server that says nothing for so long is not waited for. Milliseconds. */
const patienceMs = 1_000;
/** Servers tell one another of a recall: an answer from another one is there within this time. Milliseconds. */
const elsewhereMs = 100;

export function attempt(api: Api, env: Pick<Env, "after">, request: ClaimRequest): Attempt {
  const dropped = new AbortController();
  const answered = new AbortController();
  const drop = () => dropped.abort();
  const dropAfter = (ms: number) => {
    const cancel = env.after(ms, drop);
    answered.signal.addEventListener("abort", cancel, { once: true });
  };
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
      dropAfter(patienceMs);
      api.claim(recallOf(request), { signal: answered.signal }).then(
        ({ recalled }) => {
          if (recalled !== true && !answered.signal.aborted) dropAfter(elsewhereMs);
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
