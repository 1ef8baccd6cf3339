import { AikiError, type Duration, type EventDefinition } from "@aikirun/lib";
import { decode, describeError, Fields, parseWith, restoreError } from "@aikirun/lib/internal";
import type { Value } from "@aikirun/lib/protocol";
import { Call, type OpenCall, refused } from "./call.ts";
import { addressOfCall } from "./calls.ts";
import { checkKey, keyedContent } from "./content.ts";
import { mismatchAddress } from "./journal.ts";
import { warnOfSecondWait } from "./open-waits.ts";
import type { Replay } from "./replay.ts";
import { timeoutOf } from "./timeout.ts";
import { withdrawOnAbort } from "./withdraw-on-abort.ts";

/** The result of a wait with a timeout. */
export type EventWaitResult<Data> = { timedOut: false; data: Data } | { timedOut: true };

type Received = EventWaitResult<unknown>;

/** Options of a wait for an event. */
export interface EventWaitOptions {
  /** How long to wait at most. Default: without a limit. */
  timeout?: Duration;
  /** Distinguishes this wait from others for the same event. At most 255 characters. Default: none. */
  key?: string;
  /**
   * Withdraws the wait when it aborts: the wait rejects with `AikiError` `WAIT_WITHDRAWN` and takes no event any more.
   * Default: none.
   */
  signal?: AbortSignal;
}

/** Waits for the next event of this name that no earlier wait took. With a timeout the result says whether one came. */
export function waitForEvent(
  replay: Replay,
  name: string,
  { schema }: EventDefinition<never>,
  options: EventWaitOptions = {},
): Promise<unknown> {
  try {
    const where = `event "${name}"`;
    const fields = new Fields(options, `wait for ${where}`, "INVALID_OPTION");
    const durationMs = timeoutOf(replay, fields);
    const key = checkKey(fields.take("key"), `wait for ${where}`);
    const signal = fields.signal("signal");
    fields.done();
    const identified = replay.calls.identify({ kind: "event", name, ...keyedContent(key, null) });
    const call = new Call(identified.made, (value, own) => {
      const received = receivedOf(replay, value);
      const checked = (data: unknown): unknown =>
        schema === undefined ? data : accepted(replay, own, parseWith(schema, data, where));
      return durationMs === null ? dataOf(received, where, checked) : resultOf(received, checked);
    });
    if (withdrawOnAbort(replay, call, identified, signal)) return call.promise;
    warnOfSecondWait(replay, name, call.promise);
    replay.calls.make(call, identified, "wait", () => {
      replay.calls.openWait(call, { address: addressOfCall(call), type: "event", name, durationMs });
    });
    return call.promise;
  } catch (thrown) {
    return refused(thrown);
  }
}

function receivedOf({ scheduler }: Replay, value: Value): Received {
  if (value.type !== "received") return { timedOut: true };
  return { timedOut: false, data: decode(scheduler.journal.arrival(value.name, value.nth)) };
}

async function resultOf(received: Received, checked: (data: unknown) => unknown): Promise<Received> {
  return received.timedOut ? received : { timedOut: false, data: await checked(received.data) };
}

/** The journal may hold a timeout although the code's wait no longer has one. */
function dataOf(received: Received, where: string, checked: (data: unknown) => unknown): unknown {
  if (!received.timedOut) return checked(received.data);
  const advice = "give the wait a timeout again, or catch this error";
  throw new AikiError("EVENT_TIMED_OUT", `The wait for ${where} is recorded as timed out; ${advice}.`);
}

/**
 * Replays the result of the schema check. An event that does not match its schema is recorded as a mismatch. If an
 * event that the handler received before no longer matches, the run stalls, because its schema has become stricter.
 */
function accepted({ scheduler }: Replay, call: OpenCall, parsed: Promise<unknown>): Promise<unknown> {
  const { journal, identifier } = scheduler;
  const address = mismatchAddress(addressOfCall(call));
  const before = journal.peek(address)?.value;
  if (before?.type === "threw") return Promise.reject(restoreError(before.error));
  const wasAccepted = journal.wasDelivered(identifier.after);
  return parsed.catch((thrown: unknown) => {
    const error = describeError(thrown);
    if (wasAccepted) {
      scheduler.stall({ reason: "schema_mismatch", call: addressOfCall(call), error });
      return new Promise(() => {});
    }
    const entry = { address, value: { type: "threw", error } } as const;
    scheduler.post({ entry, call, seen: true, recorded: null, isDeferred: true });
    throw thrown;
  });
}
