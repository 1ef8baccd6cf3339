/** One try of a claim, which may be wanted sooner than the server that holds it would answer. */

import type { Cancel, Env } from "@aikirun/lib";
import type { Api, ClaimReply, ClaimRequest } from "@aikirun/lib/protocol";

export interface Attempt {
  readonly reply: Promise<ClaimReply>;
  /** Whether it was given up: then `reply` rejects. */
  readonly isDropped: boolean;
  /** The server is to answer now. If it has no such claim, or says nothing, the attempt is dropped after a while. */
  recall(): void;
  drop(): void;
}

/** A server that says nothing for so long is not waited for. Milliseconds. */
const patienceMs = 1_000;
/** Another server holds the claim: what it has answered by now arrives within this time. Milliseconds. */
const onItsWayMs = 100;

/**
 * A dropped attempt is not repeated under its id: the server that held it may be giving up what it took, while another
 * finds it as taken.
 */
export function attempt(api: Api, env: Pick<Env, "after">, request: ClaimRequest): Attempt {
  const dropped = new AbortController();
  const answered = new AbortController();
  const drop = () => dropped.abort();
  let isRecalled = request.waitMs === 0;
  let cancelDrop: Cancel = () => {};
  const dropAfter = (ms: number) => {
    cancelDrop();
    if (!answered.signal.aborted) cancelDrop = env.after(ms, drop);
  };
  const settle = () => {
    answered.abort();
    cancelDrop();
  };
  return {
    reply: api.claim(request, { signal: dropped.signal }).finally(settle),
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
        ({ held }) => (held === true ? cancelDrop() : dropAfter(onItsWayMs)),
        () => {},
      );
    },
    drop,
  };
}

function recallOf({ claimId, session, worker, leaseMs }: ClaimRequest): ClaimRequest {
  return { claimId, session, worker, leaseMs, serves: [], shardKeys: [], limit: 1, waitMs: 0, recall: true };
}
