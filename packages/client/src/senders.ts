import {
  AikiError,
  type EventDefinition,
  type EventDefinitions,
  type EventSender,
  type RunHandle,
  type SendOptions,
} from "@aikirun/lib";
import { checkName, encode, Fields, parseWith, present } from "@aikirun/lib/internal";
import type { RunId } from "@aikirun/lib/protocol";
import type { Signals } from "./signals.ts";

type Senders<Events extends EventDefinitions> = RunHandle<unknown, Events>["events"];

/** The maximum number of declared events that an error names. */
const mostNamed = 20;

/**
 * The senders of a run's events, by name. Without definitions, every name has a sender. With definitions, a name that
 * is not declared has a sender that rejects with `UNKNOWN_EVENT`. `Object.keys()` and `in` do not return this name. An
 * event may have any name, such as `constructor` or `__proto__`, so the object inherits nothing.
 */
export function sendersOf<Events extends EventDefinitions>(
  events: Events | null,
  runId: RunId,
  signals: Signals,
): Senders<Events> {
  const senders: Record<string, EventSender<unknown>> = Object.create(null);
  for (const [name, definition] of Object.entries(events ?? {})) {
    Object.defineProperty(senders, name, { value: senderOf(name, definition, runId, signals), enumerable: true });
  }
  const otherwise =
    events === null
      ? (name: string) => senderOf(name, undefined, runId, signals)
      : (name: string) => refuserOf(name, Object.keys(events), runId);
  return typed(
    new Proxy(Object.freeze(senders), {
      get: (declared, name) =>
        typeof name !== "string" || name in declared ? Reflect.get(declared, name) : otherwise(name),
    }),
  );
}

/** Casts to the mapped type, because TypeScript cannot build it key by key. Each definition has one sender. */
function typed<Events extends EventDefinitions>(senders: Record<string, EventSender<unknown>>): Senders<Events> {
  return senders as unknown as Senders<Events>;
}

function senderOf(
  name: string,
  definition: EventDefinition<never> | undefined,
  runId: RunId,
  signals: Signals,
): EventSender<unknown> {
  return {
    send: async (data?: unknown, options: SendOptions = {}) => {
      const where = `event ${JSON.stringify(name)}`;
      checkName(name, "event");
      const fields = new Fields(options, `options of ${where}`, "INVALID_OPTION");
      const referenceId = fields.text("referenceId");
      fields.done();
      if (definition?.schema !== undefined) {
        await parseWith(definition.schema, data, where);
      }
      await signals(runId, { type: "event", name, ...present({ data: encode(data, where), referenceId }) });
    },
  };
}

/** The sender of an undeclared event, for callers without types. */
function refuserOf(name: string, declared: readonly string[], runId: RunId): EventSender<unknown> {
  return {
    send: async () => {
      throw unknownEvent(name, declared, runId);
    },
  };
}

function unknownEvent(name: string, declared: readonly string[], runId: RunId): AikiError {
  const names = declared.slice(0, mostNamed).map((one) => JSON.stringify(one));
  if (declared.length > mostNamed) names.push(`${declared.length - mostNamed} more`);
  const known = names.length === 0 ? "It declares no events" : `It declares ${names.join(", ")}`;
  const message = `The workflow of run ${runId} declares no event ${JSON.stringify(name)}. ${known}.`;
  return new AikiError("UNKNOWN_EVENT", message, { ids: { runId, event: name } });
}
