import type { ClaimedRun } from "@aikirun/lib/protocol";
import type { Addresses } from "./addresses.ts";
import type { Pump } from "./pump.ts";

/** One run being replayed: what its durable primitives work with. */
export interface Replay {
  /** As it was claimed first; the fence moves on, see `pump.fence`. */
  readonly run: ClaimedRun;
  readonly pump: Pump;
  readonly addresses: Addresses;
}
