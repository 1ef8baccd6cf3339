/** Derived ids and numbers: the same on every replay. */

import { AikiError } from "./error.ts";
import { sha256 } from "./hash.ts";
import type { Address, RunId } from "./protocol/run.ts";
import { runIdForm } from "./rules.ts";

/**
 * The id of a child: a UUIDv7 with the timestamp of its parent, so that both sort together. The rest is derived
 * from the parent, its attempt and the address. Throws `AikiError` `INVALID_ID` when the parent's id is not a UUID.
 */
export function childRunId(parentId: RunId, attempt: number, address: Address): RunId {
  const parent = parentId.toLowerCase();
  if (!runIdForm.test(parent)) throw new AikiError("INVALID_ID", `The run id "${parentId}" is not a UUID.`);
  const digest = derive("child", parent, attempt, address);
  return layout(parent.slice(0, 8) + parent.slice(9, 13) + digest, "7");
}

/** The UUID of one call of a run: version 4 in its layout, derived from the run and the call in its bits. */
export function derivedUuid(origin: RunId, identity: string): string {
  return layout(derive("uuid", origin, identity), "4");
}

/** The random number of one call of a run, in [0, 1), with 48 bits. */
export function derivedRandom(origin: RunId, identity: string): number {
  return Number.parseInt(derive("random", origin, identity).slice(0, 12), 16) / 2 ** 48;
}

/** 64 hex digits; the parts are told apart however they are written. */
function derive(...parts: Array<string | number>): string {
  return sha256(JSON.stringify(parts));
}

/** The first 122 free bits of 32 hex digits under RFC 9562's version and variant. */
function layout(hex: string, version: "4" | "7"): string {
  const variant = "89ab".charAt(Number.parseInt(hex.charAt(16), 16) & 3);
  const third = version + hex.slice(13, 16);
  const fourth = variant + hex.slice(17, 20);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${third}-${fourth}-${hex.slice(20, 32)}`;
}
