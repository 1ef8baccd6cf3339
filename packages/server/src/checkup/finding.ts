/** One result of a checkup. */
export interface Finding {
  /** What was checked, for example `database`. */
  subject: string;
  /** `ok`: as it should be. `warning`: it works, with a risk or a cost. `error`: it does not work, or loses data. */
  level: "ok" | "warning" | "error";
  /** What was found, in one or two sentences. */
  message: string;
  /** What to do about it. Absent if there is nothing to do. */
  remedy?: string;
}

/** Makes findings about one subject. */
export function findingsOf(subject: string) {
  return {
    ok: (message: string): Finding => ({ subject, level: "ok", message }),
    warning: (message: string, remedy: string): Finding => ({ subject, level: "warning", message, remedy }),
    error: (message: string, remedy: string): Finding => ({ subject, level: "error", message, remedy }),
  };
}
