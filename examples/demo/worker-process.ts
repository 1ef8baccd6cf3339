import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { isEffect, type ReportedEffect } from "./work.ts";

/** A worker process of the demo. */
export interface DemoWorker {
  readonly id: string;
  readonly pid: number;
  /** Kills the process with SIGKILL. Resolves when it has exited. */
  kill(): Promise<void>;
  /** Stops the worker gracefully, so that it releases its runs. Resolves when its process has exited. */
  stop(): Promise<void>;
}

/** Resolves when the worker has started. `onEffect` is called for every task body that begins in it. */
export function startDemoWorker(
  id: string,
  url: string,
  onEffect: (effect: ReportedEffect) => void,
): Promise<DemoWorker> {
  const child = fork(fileURLToPath(new URL("./worker.ts", import.meta.url)), [url, id]);
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`${id} ended with ${code} before it had started`)));
    child.on("message", (message) => {
      if (isEffect(message)) onEffect(message);
      else
        resolve({
          id,
          pid: child.pid ?? 0,
          kill: () => ended(child, gone, "kill"),
          stop: () => ended(child, gone, "stop"),
        });
    });
  });
}

function ended(child: ChildProcess, gone: Promise<void>, how: "kill" | "stop"): Promise<void> {
  if (how === "kill") child.kill("SIGKILL");
  else if (child.connected) child.disconnect();
  return gone;
}
