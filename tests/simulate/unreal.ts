/** Takes the real clock and real chance away: whoever reaches for them inside a simulation is told so. */

export function unreal(): void {
  const refuse = (what: string) => () => {
    throw new Error(`${what} was called in a simulation; use Env.`);
  };
  const refuseDate = refuse("Date.now");
  // p-queue reads the clock for a limit that no program sets.
  Date.now = () => (new Error().stack?.includes("p-queue") === true ? 1 : refuseDate());
  Math.random = refuse("Math.random");
  Object.assign(globalThis, {
    setTimeout: refuse("setTimeout"),
    // Only keeps a process alive while somebody waits; a simulation needs none of that.
    setInterval: () => 0,
    clearInterval: () => {},
  });
}
