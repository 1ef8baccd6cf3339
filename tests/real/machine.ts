/** Processes and ports of this machine. */

import { spawn } from "node:child_process";
import { createServer } from "node:net";

/** Sends the signal to the process whose id is in the file when the owner exits for any reason. */
export function endWith(owner: number, pidFile: string, signal: "QUIT" | "KILL"): void {
  const script = `while kill -0 "$1" 2>/dev/null; do sleep 1; done; kill -${signal} "$(head -n 1 "$2")"`;
  spawn("sh", ["-c", script, "sh", String(owner), pidFile], { cwd: "/", detached: true, stdio: "ignore" }).unref();
}

/** A port that is currently free. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === "object" ? resolve(address.port) : reject(address)));
    });
  });
}
