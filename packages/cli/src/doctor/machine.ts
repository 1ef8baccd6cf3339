import type { Checkup, Finding } from "@aikirun/server";
import { spanOf } from "../text.ts";

/** By how much a clock is ahead of the clock of this machine, and the greatest possible error. Milliseconds. */
export type ClockOffset = NonNullable<Checkup["databaseClock"]>;

const oldestNode = [20, 19] as const;

/** Clocks that differ by more are reported: people and workers read times of all three. Milliseconds. */
const mostSkewMs = 2_000;

export function machineFindings(version: string = process.versions.node): Finding[] {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isNew = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  return isNew
    ? [{ subject: "node", level: "ok", message: `Node.js ${version}.` }]
    : [
        {
          subject: "node",
          level: "error",
          message: `Node.js ${version} is too old.`,
          remedy: `Install Node.js ${oldestNode.join(".")} or newer.`,
        },
      ];
}

/** Compares the clocks of the server, the database and this machine. Null if only one of them is known. */
export function clockFinding(server: ClockOffset | null, database: ClockOffset | undefined): Finding | null {
  const offsets = [
    { name: "the server", offset: server },
    { name: "the database", offset: database ?? null },
  ].flatMap(({ name, offset }) => (offset === null ? [] : [{ name, ...offset }]));
  if (offsets.length === 0) return null;
  const names = ["this machine", ...offsets.map(({ name }) => name)].join(", ").replace(/, ([^,]*)$/, " and $1");
  const all = [{ aheadMs: 0, uncertaintyMs: 0 }, ...offsets];
  // The least difference that the measurements allow.
  const skewMs = Math.max(
    ...all.flatMap((one) =>
      all.map((other) => Math.abs(one.aheadMs - other.aheadMs) - one.uncertaintyMs - other.uncertaintyMs),
    ),
  );
  if (skewMs <= mostSkewMs) {
    return { subject: "clocks", level: "ok", message: `The clocks of ${names} agree within ${spanOf(mostSkewMs)}.` };
  }
  const details = offsets.map(({ name, aheadMs }) => {
    return `${name} is ${spanOf(Math.abs(aheadMs))} ${aheadMs < 0 ? "behind" : "ahead of"} this machine`;
  });
  return {
    subject: "clocks",
    level: "warning",
    message: `The clocks of ${names} differ: ${details.join(", ")}.`,
    remedy: "Synchronise the clocks (NTP): delays, timeouts and the times of runs are as wrong as the clocks.",
  };
}
