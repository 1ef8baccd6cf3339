import type { Cancel, Env } from "@aikirun/lib";
import type { Address } from "@aikirun/lib/protocol";

/** For which recorded call the replay of one run waits. */
export interface Expectation {
  /** The call, or null when the replay goes on. */
  set(call: Address | null): void;
  /** The run left the worker. */
  end(): void;
}

/** How long a replay may wait for a call before the log says so. Milliseconds. */
const lateMs = 10_000;

/** `onLate` is called once, for the first wait that takes too long. `since` is epoch milliseconds. */
export function expectation(
  env: Pick<Env, "now" | "after">,
  onLate: (call: Address, since: number) => void,
): Expectation {
  let current: Address | null = null;
  let isLogged = false;
  let cancel: Cancel = () => {};

  const begin = (): void => {
    const since = env.now();
    cancel = env.after(lateMs, () => {
      if (current === null) return;
      isLogged = true;
      onLate(current, since);
    });
  };
  const end = (): void => {
    cancel();
    cancel = () => {};
    current = null;
  };

  return {
    set(call) {
      const isBeginning = current === null && call !== null && !isLogged;
      if (call === null) end();
      current = call;
      if (isBeginning) begin();
    },
    end,
  };
}
