import type { EventDefinition, Schema } from "@aikirun/lib";

/** Options of an event. */
export interface EventOptions<Data> {
  /** Checks what is sent, and what is received. */
  schema?: Schema<unknown, Data>;
}

/**
 * Declares an event that runs of a workflow version wait for. `Data` is the type of what it carries; with a schema it
 * follows from that. Its name is its key in the version's `events`.
 */
export function event(): EventDefinition<void>;
export function event<Data>(options?: EventOptions<Data>): EventDefinition<Data>;
export function event<Data>(options: EventOptions<Data> = {}): EventDefinition<Data> {
  return Object.freeze({ ...options });
}
