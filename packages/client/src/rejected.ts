import { AikiError } from "@aikirun/lib";
import type { Rejection } from "@aikirun/lib/protocol";

/** The error that a caller receives for a refused item. */
export function rejected({ code, message }: Rejection, ids: Record<string, string>): AikiError {
  return new AikiError(code, message, { ids });
}
