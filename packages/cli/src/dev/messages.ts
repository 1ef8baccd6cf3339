/** What `aiki dev` and its worker process tell each other. */

export type FromWorker =
  /** Subscribed; what it serves, as `name@version`. */
  | { type: "ready"; serves: string[] }
  /** Its event loop turns. Sent every second. */
  | { type: "alive" }
  /** The module cannot be served as it is; only a change of the sources helps. */
  | { type: "broken"; message: string };

export type ToWorker = { type: "stop" };

/** What the worker process is told on its command line, as JSON. */
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
