/** What the entries of a journal say, in words for people. */

import { calledOf, type Entry, type Failure, type Mark, placeOf, type Value } from "@aikirun/lib/protocol";
import { spanText } from "../time.tsx";

/** How a fact is coloured. */
export type FactTone = "good" | "bad" | "warn" | "busy" | "idle";

/** One entry as a row of the timeline. */
export interface JournalFact {
  /** What it is about, such as the name of a task. */
  subject: string;
  /** The same without the number that distinguishes alike calls. */
  name: string;
  /** `task`, `step`, `sleep`, `event`, `child`, `run` … */
  kind: string;
  /** What happened. */
  verb: string;
  tone: FactTone;
  /** More about it; empty if there is nothing. */
  detail: string;
  /** When it began and ended. Epoch milliseconds. Equal for facts without a duration. */
  from: number;
  to: number;
  /** Whether the run only waited in this time. */
  isWait: boolean;
  /** The attempt of the run; that of the fact before if it belongs to none. */
  attempt: number;
}

/** The facts of the entries. `createdAt`: when the run was created. */
export function factsOf(entries: readonly Entry[], createdAt: number): JournalFact[] {
  const times = new Map(entries.map(({ seq, at }) => [seq, at]));
  let attempt = 1;
  return entries.map((entry) => {
    attempt = Math.max(attempt, entry.attempt);
    const madeAt = entry.callSite === undefined ? undefined : (times.get(entry.callSite.madeAfter) ?? createdAt);
    const from = Math.min(entry.at, beganAt(entry, madeAt));
    return { ...describe(entry), from, to: entry.at, isWait: isWait(entry), attempt };
  });
}

function isWait({ value }: Entry): boolean {
  return value.type === "elapsed" || value.type === "received";
}

/** Tasks report when they began; a wait began when the handler made its call. */
function beganAt(entry: Entry, madeAt: number | undefined): number {
  return entry.startedAt ?? (isWait(entry) ? madeAt : undefined) ?? entry.at;
}

type Description = Omit<JournalFact, "from" | "to" | "isWait" | "attempt">;

function describe(entry: Entry): Description {
  const { value } = entry;
  if (value.type === "marked") return { subject: "run", name: "run", kind: "run", ...markOf(value) };
  const place = placeOf(entry.address);
  const { kind } = place;
  const happening = happeningOf(value, entry, place.rest);
  if (value.type === "arrived") return { subject: value.name, name: value.name, kind: "event", ...happening };
  return { subject: calledOf(place), name: calledOf({ ...place, ordinal: 0 }), kind, ...happening };
}

type Happening = Pick<JournalFact, "verb" | "tone" | "detail">;

function happeningOf(value: Exclude<Value, { type: "marked" }>, { at }: Entry, rest: string): Happening {
  switch (value.type) {
    case "returned":
      return { verb: rest === "/result" ? "child completed" : "completed", tone: "good", detail: value.output ?? "" };
    case "threw":
      return { verb: rest === "/result" ? "child failed" : "failed", tone: "bad", detail: failureText(value.error) };
    case "retrying": {
      const again = `; again after ${spanText(Math.max(0, value.retryAt - at))}`;
      const attempt = `attempt ${rest.slice(1)}${value.maxAttempts === undefined ? "" : ` of ${value.maxAttempts}`}`;
      return { verb: `${attempt} failed`, tone: "warn", detail: failureText(value.error) + again };
    }
    case "observed":
      return { verb: "read the time", tone: "idle", detail: value.data };
    case "asked":
      return { verb: "waits for the child", tone: "idle", detail: "" };
    case "reused":
      return { verb: "reused", tone: "idle", detail: `the value of entry ${value.seq}` };
    case "withdrawn":
      return { verb: "withdrawn", tone: "idle", detail: "" };
    case "started":
      return { verb: "child started", tone: "busy", detail: value.runId };
    case "elapsed":
      return { verb: value.early === true ? "woken early" : elapsedText(rest), tone: "idle", detail: "" };
    case "received":
      return { verb: "received", tone: "busy", detail: `arrival ${value.nth + 1}` };
    case "arrived":
      return { verb: "arrived", tone: "busy", detail: value.data ?? "" };
    default:
      return value satisfies never;
  }
}

function elapsedText(rest: string): string {
  return rest.endsWith("/retry") ? "the wait for the next attempt is over" : "the time is over";
}

function markOf(mark: Mark): Happening {
  const by = mark.by === undefined ? "" : `by ${mark.by}`;
  const because = "reason" in mark && mark.reason !== undefined ? mark.reason.replaceAll("_", " ") : "";
  const detail = [by, because].filter((text) => text !== "").join(": ");
  switch (mark.mark) {
    case "recovered":
      return {
        verb: "lost its worker",
        tone: "bad",
        detail: mark.confirmed ? `for the ${mark.crashes}. time in a row` : "",
      };
    case "stalled":
      return { verb: "stalled", tone: "bad", detail };
    case "cancelled":
      return { verb: "cancelled", tone: "bad", detail };
    case "pause_requested":
      return { verb: "pause requested", tone: "warn", detail };
    case "paused":
      return { verb: "paused", tone: "warn", detail };
    case "resumed":
      return { verb: "resumed", tone: "good", detail };
    case "woken":
      return { verb: "woken", tone: "good", detail };
    case "retried":
      return { verb: "retried", tone: "warn", detail };
    case "timed_out":
      return { verb: "timed out", tone: "bad", detail };
    case "attempt_failed":
      return { verb: "attempt failed", tone: "warn", detail: failureText(mark.error) };
    default:
      return mark satisfies never;
  }
}

export function failureText({ name, message }: Failure): string {
  return name === "Error" ? message : `${name}: ${message}`;
}
