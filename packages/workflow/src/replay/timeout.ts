import { Fields } from "@aikirun/lib";

/** How long a wait may take at most, in milliseconds; null: for ever. Throws `AikiError` `INVALID_OPTION`. */
export function timeoutOf(options: unknown, where: string): number | null {
  const fields = new Fields(options, where, "INVALID_OPTION");
  const durationMs = fields.duration("timeout") ?? null;
  fields.done();
  return durationMs;
}
