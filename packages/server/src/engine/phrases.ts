/** Parts of sentences about runs. */

/** How many names a sentence lists at most. */
export const named = 3;

/** The first names, and how many more there are. */
export function firstOf(names: readonly string[], joint = ", "): string {
  const rest = names.length - named;
  return `${names.slice(0, named).join(joint)}${rest > 0 ? ` and ${rest} more` : ""}`;
}

export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

export function moment(at: number): string {
  return Number.isFinite(at) && Math.abs(at) < 8.64e15 ? new Date(at).toISOString() : String(at);
}

/** Longer error messages are cut. Characters. */
const messageLength = 500;

export function shortened(message: string): string {
  return message.length <= messageLength ? message : `${message.slice(0, messageLength)}…`;
}

const units = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
  ["millisecond", 1],
] as const;

/** A configured duration, exactly: in the largest unit that divides it. */
export function exactSpan(ms: number): string {
  const [name, size] = units.find(([, size]) => ms >= size && ms % size === 0) ?? ["millisecond", 1];
  return counted(ms / size, name);
}

/** A measured duration, in its largest unit: 90 seconds, 3 hours. Below a second: `less than a second`. */
export function aboutSpan(ms: number): string {
  // Two of the next unit are needed, so that no more than half of the duration is lost.
  const unit = units.find(([, size]) => ms >= 2 * size) ?? ["millisecond", 1];
  const [name, size] = ms >= 1_000 && unit[1] < 1_000 ? (["second", 1_000] as const) : unit;
  return size < 1_000 ? "less than a second" : counted(Math.floor(ms / size), name);
}
