import { type Duration, toMs } from "@aikirun/lib";
import { Call, refused } from "./call.ts";
import type { Replay } from "./replay.ts";

/** How a sleep ended. */
export interface SleepResult {
  /** True when `wake` ended it before its time. */
  wokenEarly: boolean;
}

export function sleep(replay: Replay, name: string | null, duration: Duration): Promise<SleepResult> {
  try {
    const durationMs = toMs(duration, name === null ? "sleep" : `sleep "${name}"`);
    const address = replay.addresses.next("sleep", name, null);
    const call = new Call(address, (value): SleepResult => {
      return { wokenEarly: value.type === "elapsed" && value.early === true };
    });
    const label = name === null ? {} : { name };
    replay.pump.ask(call, "wait", () => replay.pump.openWait({ address, type: "sleep", ...label, durationMs }));
    return call.promise;
  } catch (thrown) {
    return refused(thrown);
  }
}
