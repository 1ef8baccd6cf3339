/** Moves as `aiki move` does, and dies at the moment it is told to. */

import { silentLogger } from "@aikirun/lib";
import { type MoveProgress, move } from "@aikirun/server";

export interface MoverConfig {
  from: string;
  to: string;
  /** Once so many runs are done in this part of the move. */
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
