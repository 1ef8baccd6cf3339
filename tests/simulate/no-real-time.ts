/** Replaces the real clock, timers and random numbers by functions that throw, because a simulation must use `Env`. */

export function forbidRealTime(): void {
  const refuse = (what: string) => () => {
    throw new Error(`${what} was called in a simulation; use Env.`);
  };
  const refuseDate = refuse("Date.now");
  // p-queue reads the clock for an option that no program sets.
  Date.now = () => (new Error().stack?.includes("p-queue") === true ? 1 : refuseDate());
  Math.random = refuse("Math.random");
  Object.assign(globalThis, {
    setTimeout: refuse("setTimeout"),
    // Only used to keep a process alive, which a simulation does not need.
    setInterval: () => 0,
    clearInterval: () => {},
  });
}
