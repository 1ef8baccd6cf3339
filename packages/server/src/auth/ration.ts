import type { Env, LogFields } from "@aikirun/lib";

/** Lines per second: enough to see what happens, too few to fill a disk by asking. */
const most = 10;

/** Says at most ten lines a second; the next one says how many were left out since. */
export function rationed(
  env: Pick<Env, "elapsed">,
  say: (message: string, fields: LogFields) => void,
): (message: string, fields: LogFields) => void {
  let since = Number.NEGATIVE_INFINITY;
  let said = 0;
  let unsaid = 0;
  return (message, fields) => {
    if (env.elapsed() - since >= 1_000) {
      since = env.elapsed();
      said = 0;
    }
    if (said === most) {
      unsaid += 1;
      return;
    }
    said += 1;
    say(message, unsaid === 0 ? fields : { ...fields, unsaid });
    unsaid = 0;
  };
}
