import type { EventDefinition, Schema } from "@aikirun/lib";
import { checkSchema, Fields } from "@aikirun/lib/internal";

/** Options of an event. */
export interface EventOptions<Data> {
  /** Checks the event's data when it is sent and when it is received. Default: nothing is checked. */
  schema?: Schema<unknown, Data>;
}

/**
 * Declares an event that runs of a workflow version wait for. `Data` is the type of the event's data; with a schema it
 * is inferred. The name of the event is its key in the version's `events`. Throws `AikiError` `INVALID_SCHEMA`, or
 * `INVALID_CONFIG` for an unknown option.
 *
 * @example
 * ```ts
 * import { event, workflow } from "@aikirun/workflow";
 *
 * export const orderV1 = workflow({ name: "order" }).v("1.0.0", {
 *   events: { approved: event<{ by: string }>() },
 *   async handler(run) {
 *     const approval = await run.events.approved.wait({ timeout: { days: 3 } });
 *     return approval.timedOut ? "expired" : `approved by ${approval.data.by}`;
 *   },
 * });
 * ```
 */
export function event(): EventDefinition<void>;
export function event<Data>(options?: EventOptions<Data>): EventDefinition<Data>;
export function event<Data>(options: EventOptions<Data> = {}): EventDefinition<Data> {
  const fields = new Fields(options, "event options", "INVALID_CONFIG");
  if (fields.has("schema")) checkSchema(fields.take("schema"), "an event");
  fields.done();
  return Object.freeze({ ...options });
}
