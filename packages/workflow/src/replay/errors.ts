/** The errors of durable calls. */

import { AikiError, isRetryable } from "@aikirun/lib";

/** A durable call inside a task or step. */
export function nested({ kind, name }: { kind: string; name: string | null }, within: string): AikiError {
  const call = name === null ? kind : `${kind} "${name}"`;
  const message =
    `A durable call (${call}) was made inside ${within}. ` +
    "A task or step may run more than once, so it must not make durable calls: make the call in the handler itself.";
  return new AikiError("NESTED_CALL", message);
}

/** Two alike calls cannot be distinguished. */
export function ambiguous(content: string, places: readonly string[]): AikiError {
  const message =
    `Two calls ${content} cannot be distinguished: the code reaches both after non-durable asynchronous work, ` +
    `at ${places.join(" and at ")}. Give each a key of its own (a sleep: a name), or use run.map with a key.`;
  return new AikiError("AMBIGUOUS_CALL", message);
}

/** The rejection of a withdrawn call. */
export function withdrawn(cause: unknown): AikiError {
  const message = "The call was withdrawn: its signal aborted, or another call won the race.";
  return new AikiError("WAIT_WITHDRAWN", message, { cause });
}

/** A promise of the handler was rejected and not handled. The error is retryable if `reason` is. */
export function unhandled(reason: unknown): AikiError {
  const message =
    "A promise of the handler was rejected, and the rejection was not handled. Await the promise, or catch it.";
  return new AikiError("UNHANDLED_REJECTION", message, { cause: reason, retryable: isRetryable(reason) });
}
