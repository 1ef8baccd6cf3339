import type { Entry, RunView } from "@aikirun/lib/protocol";
import { type EntryLine, entryLine } from "./entry-line.ts";
import { type Paint, type Style, unpainted } from "./paint.ts";
import { cut, padded, plain, spanOf } from "./text.ts";

/** The history of a run: its start, one line for each entry, oldest first, and its current status. */
export function timeline(run: RunView, entries: readonly Entry[], paint: Paint = unpainted): string[] {
  const { started, recorded, status } = timelineOf(run, paint);
  return [started(), ...entries.map(recorded), status(run)];
}

/** The lines of the history of a run, one by one. */
export interface TimelineLines {
  started(): string;
  recorded(entry: Entry): string;
  status(run: RunView): string;
}

export function timelineOf({ createdAt, name, versionId, input }: RunView, paint: Paint): TimelineLines {
  const since = (at: number) => `+${((at - createdAt) / 1_000).toFixed(2)}s`.padStart(9);
  const row = (at: number, line: EntryLine, by: string) => rowOf(paint, since(at), line, by);
  const subject = `${name}@${versionId}`;
  const began: EntryLine = { sign: "●", style: "bold", subject, verb: "started", detail: cut(input ?? "", 60) };
  return {
    started: () => row(createdAt, plainLine(began), ""),
    recorded: (entry) => row(entry.at, entryLine(entry), byOf(entry)),
    status: (run) => row(run.updatedAt, plainLine(endOf(run)), ""),
  };
}

/** One line for an entry of a run; `lead` is printed before it. */
export function timelineLine(paint: Paint, lead: string, entry: Entry): string {
  return rowOf(paint, lead, entryLine(entry), byOf(entry));
}

function rowOf(paint: Paint, lead: string, { sign, style, subject, verb, detail }: EntryLine, by: string): string {
  const what = `${paint(style, sign)} ${padded(cut(subject, 26), 26)} ${paint(style, verb.padEnd(16))}`;
  const rest = [detail, by === "" ? "" : paint("dim", by)].filter((part) => part !== "").join("  ");
  return `${paint("dim", lead)}  ${what} ${rest}`.trimEnd();
}

function byOf({ worker }: Entry): string {
  return worker === undefined ? "" : `by ${plain(worker)}`;
}

function plainLine(line: EntryLine): EntryLine {
  return { ...line, subject: plain(line.subject), detail: plain(line.detail) };
}

function endOf(run: RunView): EntryLine {
  const subject = `${run.name}@${run.versionId}`;
  const after = `after ${spanOf(run.updatedAt - run.createdAt)}`;
  const { outcome } = run;
  switch (outcome?.status) {
    case "completed":
      return {
        sign: "●",
        style: "green",
        subject,
        verb: "completed",
        detail: [after, cut(outcome.output ?? "", 80)].join("  "),
      };
    case "failed":
      return { sign: "●", style: "red", subject, verb: "failed", detail: `${after}  ${outcome.error.message}` };
    case "cancelled":
      return { sign: "●", style: "red", subject, verb: "cancelled", detail: `${after}  ${outcome.reason ?? ""}` };
    case undefined:
      return { sign: "○", style: statusStyle(run.status), subject, verb: run.status, detail: run.explanation };
    default:
      return outcome satisfies never;
  }
}

/** Green: running or completed. Yellow: waiting. Red: needs attention. */
export function statusStyle(status: RunView["status"]): Style {
  switch (status) {
    case "completed":
    case "running":
      return "green";
    case "failed":
    case "stalled":
    case "cancelled":
      return "red";
    case "paused":
    case "awaiting_retry":
      return "yellow";
    case "scheduled":
    case "queued":
    case "sleeping":
    case "awaiting_event":
    case "awaiting_child_workflow":
      return "cyan";
    default:
      return status satisfies never;
  }
}
