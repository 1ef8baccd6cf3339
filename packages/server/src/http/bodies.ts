/** How much of large requests a server holds at the same time. */

import { getHeapStatistics } from "node:v8";
import { limits } from "@aikirun/lib/protocol";
import { Refusal } from "./refusal.ts";

/** Requests up to this size are always read, so that heartbeats are: one of 2,000 runs has 120,000. Bytes. */
const smallBytes = 256_000;
/** The share of the heap that bodies may take as they arrive: text, values and what is written are made of them. */
const heapShare = 0.125;

/** Two of the largest requests fit, however small the heap is. Bytes. */
function mostBytes(): number {
  return Math.max(2 * limits.requestBytes, getHeapStatistics().heap_size_limit * heapShare);
}

/** The bodies of large requests, from when they arrive until their requests are answered. */
export interface Bodies {
  open(): Body;
}

export interface Body {
  /** Counts bytes of it that arrive. Throws `Refusal` 503 when there is no room for them. */
  take(bytes: number): void;
  /** To be called when the body is not held any more. May be called twice. */
  release(): void;
}

/** `most`: how many bytes they may take. Requests that do not fit are refused, to be sent again. */
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

function noRoom(): Refusal {
  const message = "The server holds as many large requests as it has memory for. Try again.";
  return new Refusal(503, "UNAVAILABLE", message, { "retry-after": "1" });
}
