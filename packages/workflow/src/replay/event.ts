import { AikiError, type Duration, decode, type EventDefinition, parseWith } from "@aikirun/lib";
import type { Value } from "@aikirun/lib/protocol";
import { Call, refused } from "./call.ts";
import type { Replay } from "./replay.ts";
import { timeoutOf } from "./timeout.ts";

/** What a wait with a timeout came to. */
export type EventWaitResult<Data> = { timedOut: false; data: Data } | { timedOut: true };

type Received = EventWaitResult<unknown>;

/** Waits for the next event of this name that no earlier wait took. With a timeout the result says whether one came. */
export function waitForEvent(
  replay: Replay,
  name: string,
  { schema }: EventDefinition<never>,
  options: { timeout?: Duration } = {},
): Promise<unknown> {
  try {
    const where = `event "${name}"`;
    const durationMs = timeoutOf(options, `wait for ${where}`);
    const address = replay.addresses.next("event", name, null);
    const checked = (data: unknown): unknown => (schema === undefined ? data : parseWith(schema, data, where));
    const call = new Call(address, (value) => {
      const received = receivedOf(replay, value);
      return durationMs === null ? dataOf(received, where, checked) : resultOf(received, checked);
    });
    replay.pump.ask(call, "wait", () => replay.pump.openWait({ address, type: "event", name, durationMs }));
    return call.promise;
  } catch (thrown) {
    return refused(thrown);
  }
}

function receivedOf({ pump }: Replay, value: Value): Received {
  if (value.type !== "received") return { timedOut: true };
  return { timedOut: false, data: decode(pump.journal.arrival(value.name, value.nth)) };
}

async function resultOf(received: Received, checked: (data: unknown) => unknown): Promise<Received> {
  return received.timedOut ? received : { timedOut: false, data: await checked(received.data) };
}

/** The record may hold a timeout that the code no longer has. */
function dataOf(received: Received, where: string, checked: (data: unknown) => unknown): unknown {
  if (!received.timedOut) return checked(received.data);
  const advice = "give the wait a timeout again, or catch this error";
  throw new AikiError("EVENT_TIMED_OUT", `The wait for ${where} is recorded as timed out; ${advice}.`);
}
