/** Bounds the memory for the bodies of large requests. */

import { getHeapStatistics } from "node:v8";
import { limits } from "@aikirun/lib/protocol";
import { HttpRefusal } from "./refusal.ts";

/** Requests up to this size are always read, so that heartbeats are: one for 2,000 runs has 120,000. Bytes. */
const smallBytes = 256_000;
/** The share of the heap that received bodies may take: parsing and writing them takes several times as much. */
const heapShare = 0.125;

/** Two of the largest requests fit, however small the heap is. Bytes. */
function mostBytes(): number {
  return Math.max(2 * limits.requestBytes, getHeapStatistics().heap_size_limit * heapShare);
}

/** Counts the bodies of large requests until the requests are answered. */
export interface Bodies {
  open(): Body;
}

export interface Body {
  /** Counts bytes that arrive. Throws `Refusal` 503 when there is no memory for them. */
  take(bytes: number): void;
  /** Call this when the body is no longer in memory. May be called twice. */
  release(): void;
}

/** `most`: the maximum for all bodies together, in bytes. Further requests are refused; the client retries them. */
export function countedBodies(most: number = mostBytes()): Bodies {
  let held = 0;
  return {
    open() {
      let own = 0;
      let counted = 0;
      return {
        take(bytes) {
          own += bytes;
          if (own <= smallBytes) return;
          if (held - counted + own > most) throw noRoom();
          held += own - counted;
          counted = own;
        },
        release() {
          held -= counted;
          own = 0;
          counted = 0;
        },
      };
    },
  };
}

function noRoom(): HttpRefusal {
  const message = "The server holds as many large requests as it has memory for. Try again.";
  return new HttpRefusal(503, "UNAVAILABLE", message, { "retry-after": "1" });
}
