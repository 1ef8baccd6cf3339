/** The rules that clients, workers and the server share: what one of them accepts, all of them accept. */

/**
 * Fits a text that may become a key: one without NUL and without half of a surrogate pair. Databases refuse or replace
 * both, so two different keys could become one.
 */
export const storable: RegExp = /^[^\0\uD800-\uDFFF]*$/u;

/** Fits the id of a run: a UUID in lower case. */
export const runIdForm: RegExp = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether the text is the beginning of a run's id, or a whole one: `01890a5d-ac9`. */
export function isRunIdPrefix(text: string): boolean {
  return text !== "" && runIdForm.test(text + "00000000-0000-0000-0000-000000000000".slice(text.length));
}

/** The farthest moments that a `Date` can hold, before and after 1970. Milliseconds. */
export const farthestMs = 8.64e15;

/** How many errors of an `AggregateError` are recorded. */
export const mostErrors = 10;
