import { AikiError } from "@aikirun/lib";
import type { Rejection } from "@aikirun/lib/protocol";

/** A refused item as the error its caller sees. */
export function rejected({ code, message }: Rejection, ids: Record<string, string>): AikiError {
  return new AikiError(code, message, { ids });
}
