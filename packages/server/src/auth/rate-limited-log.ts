import type { Env, LogFields } from "@aikirun/lib";

/** The maximum number of lines per second: requests must not be able to fill a disk. */
const most = 10;

/** Logs at most ten lines a second; the next line has the number of suppressed lines. */
export function rateLimitedLog(
  env: Pick<Env, "elapsed">,
  log: (message: string, fields: LogFields) => void,
): (message: string, fields: LogFields) => void {
  let since = Number.NEGATIVE_INFINITY;
  let logged = 0;
  let suppressed = 0;
  return (message, fields) => {
    if (env.elapsed() - since >= 1_000) {
      since = env.elapsed();
      logged = 0;
    }
    if (logged === most) {
      suppressed += 1;
      return;
    }
    logged += 1;
    log(message, suppressed === 0 ? fields : { ...fields, suppressed });
    suppressed = 0;
  };
}
