import type { Entry, Failure, Mark, Stall, Value } from "@aikirun/lib/protocol";
import { calledOf, placeOf } from "@aikirun/lib/protocol";
import type { Style } from "./paint.ts";
import { cut, plain, spanOf } from "./text.ts";

/** The description of one entry: a sign, a subject, and what happened to it. */
export interface EntryLine {
  /** One character that shows what kind of fact it is. */
  sign: string;
  /** How the sign is coloured. */
  style: Style;
  /** What the fact concerns, such as the name of a task. */
  subject: string;
  /** What happened to the subject. */
  verb: string;
  /** More about it, such as a result or an error; empty when there is nothing to add. */
  detail: string;
}

/** Describes one entry. Names and errors are escaped, so that the result is safe to print. */
export function entryLine(entry: Entry): EntryLine {
  const { value } = entry;
  const line = value.type === "marked" ? markLine(value) : valueLine(value, entry);
  return { ...line, subject: plain(line.subject), detail: plain(line.detail) };
}

function valueLine(value: Exclude<Value, { type: "marked" }>, entry: Entry): EntryLine {
  const place = placeOf(entry.address);
  const subject = calledOf(place);
  const isChild = place.rest === "/result";
  switch (value.type) {
    case "returned": {
      const verb = isChild ? "child completed" : "recorded";
      return { sign: "✓", style: "green", subject, verb, detail: resultOf(value.output, tookOf(entry)) };
    }
    case "threw": {
      const isStart = place.kind === "child" && place.rest === "";
      const verb = isChild ? "child failed" : isStart ? "not started" : "failed for good";
      return { sign: "✗", style: "red", subject, verb, detail: failureOf(value.error) };
    }
    case "retrying": {
      const verb = `attempt ${place.rest.slice(1)} failed`;
      const detail = `${failureOf(value.error)}; again in ${spanOf(Math.max(0, value.retryAt - entry.at))}`;
      return { sign: "↻", style: "yellow", subject, verb, detail };
    }
    case "observed":
      return { sign: "·", style: "dim", subject, verb: "observed", detail: cut(value.data, 60) };
    case "asked":
      return { sign: "·", style: "dim", subject, verb: "awaits child", detail: "" };
    case "reused":
      return { sign: "·", style: "dim", subject, verb: "reused", detail: `the value of entry ${value.seq}` };
    case "withdrawn":
      return { sign: "⊘", style: "dim", subject, verb: "withdrawn", detail: "" };
    case "started":
      return { sign: "▸", style: "blue", subject, verb: "child started", detail: `run ${value.runId}` };
    case "elapsed":
      return elapsedLine(subject, place.kind, place.rest, value.early === true);
    case "received":
      return { sign: "✉", style: "cyan", subject, verb: "event received", detail: `arrival ${value.nth + 1}` };
    case "arrived":
      return { sign: "✉", style: "cyan", subject: value.name, verb: "arrived", detail: resultOf(value.data, "") };
    default:
      return value satisfies never;
  }
}

function elapsedLine(subject: string, kind: string, rest: string, early: boolean): EntryLine {
  const sleeps = { sign: "☾", style: "magenta", subject, detail: "" } as const;
  if (early) return { ...sleeps, verb: "woken early" };
  if (rest.endsWith("/retry")) return { ...sleeps, verb: "waited to retry" };
  return kind === "event" ? { ...sleeps, verb: "wait timed out" } : { ...sleeps, verb: "slept" };
}

/** Why a run stalled, in a few words. The run's explanation has the details. */
const causes: Readonly<Record<Stall["reason"], string>> = {
  crash_loop: "too many leases ended without a report",
  diverged: "the code does not fit the journal",
  ambiguous_call: "alike calls cannot be distinguished",
  schema_mismatch: "recorded data does not fit the schema",
  idle: "awaited only non-durable work for too long",
};

function markLine(mark: Mark): EntryLine {
  const line = (sign: string, style: Style, verb: string, detail = "") => ({
    sign,
    style,
    subject: "run",
    verb,
    detail,
  });
  switch (mark.mark) {
    case "recovered":
      return line("⚡", "red", "lost its lease", mark.confirmed ? `crash ${mark.crashes}` : "");
    case "stalled":
      return line("■", "red", "stalled", causes[mark.reason]);
    case "cancelled":
      return line("■", "red", "cancelled", mark.reason ?? "");
    case "pause_requested":
      return line("‖", "yellow", "pause requested");
    case "paused":
      return line("‖", "yellow", "paused");
    case "resumed":
      return line("▶", "green", "resumed");
    case "woken":
      return line("▶", "green", "woken");
    case "retried":
      return line("↻", "yellow", "retried");
    case "timed_out":
      return line("✗", "red", "timed out");
    case "attempt_failed":
      return line("↻", "yellow", "attempt failed", failureOf(mark.error));
    default:
      return mark satisfies never;
  }
}

function failureOf({ name, message }: Failure): string {
  return cut(name === "Error" ? message : `${name}: ${message}`, 100);
}

function resultOf(payload: string | undefined, took: string): string {
  return [payload === undefined ? "" : cut(payload, 60), took].filter((part) => part !== "").join("  ");
}

/** How long the task took; empty if clock skew between worker and server makes it negative. */
function tookOf({ at, startedAt }: Entry): string {
  return startedAt === undefined || at < startedAt ? "" : `(${spanOf(at - startedAt)})`;
}
