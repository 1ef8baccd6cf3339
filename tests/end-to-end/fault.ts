/** A process that ends itself at a named point: what a test asks for, and how it is carried out. */

import { writeSync } from "node:fs";

/** The `nth` time (from 1) that the process comes to `point`, it sends itself this signal. */
export interface ProcessFault {
  point: string;
  nth: number;
  signal: "SIGKILL" | "SIGSTOP" | "SIGTERM";
}

/** Told of every named point that the process comes to. */
export type Reach = (point: string) => void;

/** Says `fault <point>:<nth>` on stdout before the signal, so that a point that is never reached is noticed. */
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
