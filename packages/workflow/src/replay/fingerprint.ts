/** Detects whether code has changed. The result may be `unknown`. */

import { sha256 } from "@aikirun/lib/internal";
import type { Build } from "@aikirun/lib/protocol";

/** The last fingerprint of each handler, and the build id for which it was computed. */
const known = new WeakMap<object, { readonly buildId: string | undefined; readonly fingerprint: string }>();

/** The source of the handler, and the name of the build if it has one. At most 64 characters. */
export function fingerprintOf(handler: object, buildId: string | undefined): string {
  const before = known.get(handler);
  if (before !== undefined && before.buildId === buildId) return before.fingerprint;
  const source = sha256(String(handler)).slice(0, 16);
  const fingerprint = buildId === undefined ? source : `${source}.${sha256(buildId).slice(0, 16)}`;
  known.set(handler, { buildId, fingerprint });
  return fingerprint;
}

/** Whether the code that executes a run is the same code that recorded the entry of a given `seq`. */
export type Familiarity = "same" | "unknown" | "other";

export function familiarityOf(own: string, recorded: Build | undefined, seq: number): Familiarity {
  if (recorded === undefined) return "unknown";
  const [source, build] = own.split(".");
  const [recordedSource, recordedBuild] = recorded.id.split(".");
  if (source !== recordedSource || seq <= recorded.since) return "other";
  if (build === undefined || recordedBuild === undefined) return "unknown";
  return build === recordedBuild ? "same" : "other";
}
