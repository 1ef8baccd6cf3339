/** Races that withdraw their losers durably. */

import type { Contender, Winner } from "../definition/run.ts";
import { callOf } from "./call.ts";
import type { Replay } from "./replay.ts";
import { uncheckedCast } from "./unchecked-cast.ts";

export function race<const Contenders extends readonly Contender[]>(
  replay: Replay,
  contenders: Contenders,
): Promise<Winner<Contenders>> {
  return raceWith(replay, contenders, (promises) => Promise.race(promises));
}

export function any<const Contenders extends readonly Contender[]>(
  replay: Replay,
  contenders: Contenders,
): Promise<Winner<Contenders>> {
  return raceWith(replay, contenders, (promises) => Promise.any(promises));
}

/**
 * Withdraws the losers before the handler receives the result. A durable call is withdrawn directly; a function
 * receives an abort signal.
 */
function raceWith<Contenders extends readonly Contender[]>(
  { calls }: Replay,
  contenders: Contenders,
  decide: (promises: Array<PromiseLike<Winner<Contenders>>>) => Promise<Winner<Contenders>>,
): Promise<Winner<Contenders>> {
  const over = new AbortController();
  const promises = contenders.map((contender) => startContender<Winner<Contenders>>(contender, over.signal));
  const withdraw = (): void => {
    const reason = new Error("Another call won the race.");
    for (const promise of promises) {
      const call = callOf(promise);
      if (call !== undefined) calls.withdraw(call, reason);
    }
    over.abort(reason);
  };
  const result = decide(promises);
  result.then(withdraw, withdraw);
  const decision = result.finally(() => {});
  decision.catch(() => {});
  return decision;
}

async function thrown(error: unknown): Promise<never> {
  throw error;
}

function startContender<Result>(contender: Contender, signal: AbortSignal): PromiseLike<Result> {
  try {
    const promise = typeof contender === "function" ? contender(signal) : contender;
    return uncheckedCast<PromiseLike<Result>>(promise);
  } catch (error) {
    return thrown(error);
  }
}
