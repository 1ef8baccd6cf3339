/** Short descriptions of messages, for traces. */

import type { Verb } from "@aikirun/lib/protocol";
import type { Names } from "./names.ts";

export function describe(verb: Verb, request: unknown, names: Names): string {
  const { runs, reports, signals, watched }: Items = Object(request);
  switch (verb) {
    case "report":
      return list(reports, (item) => `${names.of(item.runId)} f${item.fence} ${reported(item)}`);
    case "signal":
      return list(signals, (item) => `${names.of(item.runId)} ${item.signal.type}`);
    case "renew":
      return list(runs, ({ runId = "", fence = 0 }) => `${names.of(runId)} f${fence}`);
    case "start":
      return list(runs, ({ id = "" }) => names.of(id));
    case "watch":
      return list(watched, ({ runId }) => names.of(runId));
    case "claim":
    case "find":
    case "read":
      return "";
    default:
      return verb satisfies never;
  }
}

interface Reported {
  runId: string;
  fence: number;
  seen: number;
  entries: Array<{ address: string; value: { type: string } }>;
  opens: Array<{ address: string; durationMs: number | null }>;
  starts: Array<{ address: string }>;
  next: { type: string; outcome?: { status: string } };
}

interface Items {
  runs?: Array<{ id?: string; runId?: string; fence?: number }>;
  reports?: Reported[];
  signals?: Array<{ runId: string; signal: { type: string } }>;
  watched?: Array<{ runId: string }>;
}

function reported({ seen, entries, opens, starts, next }: Reported): string {
  const parts = [
    ...entries.map(({ address, value }) => `${value.type} ${short(address)}`),
    ...opens.map(({ address, durationMs }) => `open ${short(address)} ${durationMs ?? "∞"}`),
    ...starts.map(({ address }) => `start ${short(address)}`),
  ];
  return `seen ${seen} [${parts.join(", ")}] ${next.type} ${next.outcome?.status ?? ""}`;
}

/** Shortens the hashes of an address to their first digits. */
function short(address: string): string {
  return address.replace(/[0-9a-f]{32}/g, (digits) => digits.slice(0, 4));
}

function list<Item>(items: Item[] | undefined, show: (item: Item) => string): string {
  return (items ?? []).map(show).join("; ");
}
