import type { z } from "zod";

/** One sentence per issue, with its path. */
export function sentences(error: z.ZodError): string[] {
  return error.issues.map(({ path, message }) => `${path.map(String).join(".")}: ${message}`);
}
