/** Moves like `aiki move`, and kills itself at the given moment. */

import { silentLogger } from "@aikirun/lib";
import { type MoveProgress, move } from "@aikirun/server";

export interface MoverConfig {
  from: string;
  to: string;
  /** Kills the process when this many runs are done in this part of the move. */
  killAt: Pick<MoveProgress, "part" | "runs">;
}

const { from, to, killAt }: MoverConfig = JSON.parse(process.argv[2] ?? "{}");
await move({
  from,
  to,
  logger: silentLogger,
  onProgress: ({ part, runs }) => {
    if (part === killAt.part && runs >= killAt.runs) process.kill(process.pid, "SIGKILL");
  },
});
