/**
 * Resolves with the first SIGINT or SIGTERM. Whoever asks twice means it: the second one ends the process at once, with
 * 128 plus the signal's number, as shells expect.
 */
export function untilSignal(onSecond: () => void = () => {}): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const hear = (signal: NodeJS.Signals) => {
      if (asked) {
        onSecond();
        process.exit(signal === "SIGINT" ? 130 : 143);
      }
      asked = true;
      resolve(signal);
    };
    process.on("SIGINT", hear);
    process.on("SIGTERM", hear);
  });
}
