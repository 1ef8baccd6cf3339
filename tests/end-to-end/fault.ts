/** Makes a process send itself a signal at a named point that the test chooses. */

import { writeSync } from "node:fs";

/** When the process reaches `point` for the `nth` time (from 1), it sends itself this signal. */
export interface ProcessFault {
  point: string;
  nth: number;
  signal: "SIGKILL" | "SIGSTOP" | "SIGTERM";
}

/** Called at every named point that the process reaches. */
export type Reach = (point: string) => void;

/** Prints `fault <point>:<nth>` before the signal, so that the test detects a point that is never reached. */
export function faultAt(fault: ProcessFault | null): Reach {
  let times = 0;
  return (point) => {
    if (fault === null || point !== fault.point) return;
    times += 1;
    if (times !== fault.nth) return;
    writeSync(1, `fault ${point}:${times}\n`);
    process.kill(process.pid, fault.signal);
  };
}
