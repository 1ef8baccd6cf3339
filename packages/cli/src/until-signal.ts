/** How long output may still be written after a signal has ended the program. Milliseconds. */
const outputMs = 1_000;

let isSignalled = false;

/**
 * Resolves with the first SIGINT or SIGTERM. The second one ends the process at once, with status 128 plus the number
 * of the signal, as shells expect.
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
 * Call this when everything is closed. If there was a signal, the process then ends within a second, even if the reader
 * of its output has stopped reading. The status is `process.exitCode`.
 */
export function endAfterSignal(): void {
  if (isSignalled) setTimeout(() => process.exit(), outputMs).unref();
}
