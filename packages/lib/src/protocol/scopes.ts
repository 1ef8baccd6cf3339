/** What an API key may be good for; a verb says which of these it needs. */
export const scopes = [
  /** Starts runs. */
  "runs:start",
  /** Finds, reads and watches runs, and lists live workers. */
  "runs:read",
  /** Cancels, pauses, resumes, wakes and retries runs. */
  "runs:control",
  /** Sends events to runs. */
  "events:send",
  /** Executes runs: claims, reports, renews, watches what it holds, and reads journals. */
  "workers:run",
  /** All of these, and whatever comes later. */
  "admin",
] as const;

/** One of `scopes`. */
export type Scope = (typeof scopes)[number];
