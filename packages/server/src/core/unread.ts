/** Which payloads and values are loaded with a row or an entry, and which are left in storage. */

import type { Entry, NewFact, Outline, Payload, Run, RunId, Unread, UnreadEnd, Value, WholeRun } from "./run.ts";

/** Payloads up to this size are loaded with their row. Bytes. */
export const loadedBytes = 16_384;

/** Rows with a state up to this size are loaded together, however many are requested. Bytes. */
export const lightBytes = 32_768;

/** Values up to this size are loaded with the outline of their entry. Every `received` value is smaller. Bytes. */
export const outlinedBytes = 2_000;

/** The type of the value, whether it is loaded or not. */
export function typeOf({ value }: Pick<Outline, "value">): Value["type"] {
  return value.type === "unread" ? value.of : value.type;
}

export function isUnreadEnd(entry: NewFact): entry is NewFact & { value: UnreadEnd } {
  return entry.value.type === "unread";
}

export function isLoaded(entry: NewFact): entry is Entry {
  return !isUnreadEnd(entry);
}

export function isUnread(payload: Payload | Unread | null | undefined): payload is Unread {
  return typeof payload === "object" && payload !== null;
}

/** Throws when the payload was not loaded: load it first. */
export function wholeOf(payload: Payload | Unread, runId: RunId): Payload {
  if (isUnread(payload)) {
    throw leftOut(runId);
  }
  return payload;
}

function leftOut(runId: RunId): Error {
  return new Error(`A payload of run ${runId} was used before it was loaded.`);
}

/** Throws like `wholeOf`. */
export function wholeRun(run: Run): WholeRun {
  if (!isWhole(run)) {
    throw leftOut(run.id);
  }
  return run;
}

export function isWhole(run: Run): run is WholeRun {
  const { input, state } = run;
  return !isUnread(input) && !(state.status === "completed" && isUnread(state.output));
}

/** The payloads of one run. */
export interface Payloads {
  input: Payload | null;
  /** Null unless the run completed with one. */
  output: Payload | null;
}

/** The run without its large payloads; the same object if it has none. */
export function withoutLarge(run: Run): Run {
  const { input, state } = run;
  if (!isLarge(input) && !(state.status === "completed" && isLarge(state.output))) {
    return run;
  }
  const light: Run = { ...run };
  if (isLarge(input)) {
    light.input = unread(input);
  }
  if (state.status === "completed" && isLarge(state.output)) {
    light.state = { ...state, output: unread(state.output) };
  }
  return light;
}

function isLarge(payload: Payload | Unread | null | undefined): payload is Payload {
  // A character takes at least one byte and at most three.
  return (
    typeof payload === "string" &&
    payload.length > loadedBytes / 3 &&
    (payload.length > loadedBytes || Buffer.byteLength(payload) > loadedBytes)
  );
}

function unread(payload: Payload): Unread {
  return { bytes: Buffer.byteLength(payload) };
}
