/** Messages between `aiki dev` and its worker process. */

export type FromWorker =
  /** The worker has subscribed. `serves` are the workflow versions that it serves, as `name@version`. */
  | { type: "ready"; serves: string[] }
  /** Sent every second: the event loop is not blocked. */
  | { type: "alive" }
  /** The module cannot be loaded or served until its sources change. */
  | { type: "broken"; message: string };

export type ToWorker = { type: "stop" };

/** The parameters of the worker process, passed as JSON on its command line. */
export interface WorkerProcessOptions {
  url: string;
  /** The module's absolute path. */
  file: string;
  workerId: string;
  heartbeatIntervalMs: number;
}

export function isFromWorker(message: unknown): message is FromWorker {
  return typeof message === "object" && message !== null && "type" in message;
}
