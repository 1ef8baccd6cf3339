/** Processes and ports of this machine. */

import { spawn } from "node:child_process";
import { createServer } from "node:net";

/** However the owner ends, the process whose id is in the file ends with it, at once. */
export function endWith(owner: number, pidFile: string, signal: "QUIT" | "KILL"): void {
  const script = `while kill -0 "$1" 2>/dev/null; do sleep 1; done; kill -${signal} "$(head -n 1 "$2")"`;
  spawn("sh", ["-c", script, "sh", String(owner), pidFile], { cwd: "/", detached: true, stdio: "ignore" }).unref();
}

/** Was free a moment ago. */
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
