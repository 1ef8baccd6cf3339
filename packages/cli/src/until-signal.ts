/** How long output may still be written after a signal has ended the program. Milliseconds. */
const outputMs = 1_000;

let isSignalled = false;

/**
 * Resolves with the first SIGINT or SIGTERM. Whoever asks twice means it: the second one ends the process at once, with
 * 128 plus the signal's number, as shells expect.
 */
export function untilSignal(onSecond: () => void = () => {}): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals) => {
      if (isSignalled) {
        onSecond();
        process.exit(signal === "SIGINT" ? 130 : 143);
      }
      isSignalled = true;
      resolve(signal);
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  });
}

/**
 * Call this when all is closed: after a signal the process ends within a second, though a reader that stopped reading
 * leaves output unwritten. The status is `process.exitCode`.
 */
export function endAfterSignal(): void {
  if (isSignalled) setTimeout(() => process.exit(), outputMs).unref();
}
