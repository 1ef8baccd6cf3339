import type { EventDefinition, Schema } from "@aikirun/lib";
import { checkSchema, Fields } from "@aikirun/lib/internal";

/** Options of an event. */
export interface EventOptions<Data> {
  /** Checks what is sent, and what is received. */
  schema?: Schema<unknown, Data>;
}

/**
 * Declares an event that runs of a workflow version wait for. `Data` is the type of what it carries; with a schema it
 * follows from that. Its name is its key in the version's `events`. Throws `AikiError` `INVALID_SCHEMA`, or
 * `INVALID_CONFIG` for an option that there is not.
 */
export function event(): EventDefinition<void>;
export function event<Data>(options?: EventOptions<Data>): EventDefinition<Data>;
export function event<Data>(options: EventOptions<Data> = {}): EventDefinition<Data> {
  const fields = new Fields(options, "event options", "INVALID_CONFIG");
  if (fields.has("schema")) checkSchema(fields.take("schema"), "an event");
  fields.done();
  return Object.freeze({ ...options });
}
