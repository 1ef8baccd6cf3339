/** Times and durations. One switch chooses the zone for everything that is shown. */

import type { ReactNode } from "react";
import { useParam } from "./params.ts";

/** Local time, or UTC. It is part of the URL. */
export type Zone = "local" | "utc";

export function useZone(): Zone {
  const [zone] = useParam("zone");
  return zone === "utc" ? "utc" : "local";
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** `2026-01-31 12:00:00.123`, with `Z` for UTC. */
function timeText(at: number, zone: Zone): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at);
  if (zone === "utc") return date.toISOString().replace("T", " ");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
] as const;

/** `3 h 12 min`, `4.2 s`, `17 ms`. */
export function spanText(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(1))} s`;
  const first = units.findIndex(([, size]) => ms >= size);
  const [name, size] = units[first] ?? units[3];
  const [nextName, nextSize] = units[first + 1] ?? units[3];
  const whole = Math.floor(ms / size);
  const rest = Math.floor((ms % size) / nextSize);
  return rest === 0 ? `${whole} ${name}` : `${whole} ${name} ${rest} ${nextName}`;
}

/** How long ago, with the exact time as a tooltip. */
export function Ago({ at, now }: { at: number; now: number }): ReactNode {
  const zone = useZone();
  const exact = timeText(at, zone);
  return (
    <time dateTime={new Date(at).toISOString()} title={exact}>
      {spanText(Math.max(0, now - at))} ago
    </time>
  );
}

/** The exact time. */
export function Moment({ at }: { at: number }): ReactNode {
  const zone = useZone();
  return (
    <time className="font-mono text-[12px]" dateTime={new Date(at).toISOString()}>
      {timeText(at, zone)}
    </time>
  );
}
