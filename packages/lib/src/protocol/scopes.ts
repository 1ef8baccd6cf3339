/** The permissions that an API key can have. Each verb requires one or more of them. */
export const scopes = [
  /** Starts runs. */
  "runs:start",
  /** Finds, reads and watches runs, and lists live workers. */
  "runs:read",
  /** Cancels, pauses, resumes, wakes and retries runs. */
  "runs:control",
  /** Sends events to runs. */
  "events:send",
  /** Executes runs: claims, reports, renews, watches the runs that the worker holds, and reads journals. */
  "workers:run",
  /** Reads the metrics of all namespaces. With `runs:read`, a key reads those of its own namespace. */
  "metrics:read",
  /** All of these within the namespace of the key, and all scopes that later versions add. */
  "admin",
] as const;

/** One of `scopes`. */
export type Scope = (typeof scopes)[number];
