/** How many bytes the answers of one request, or of one transaction, may hold. */

import { limits } from "@aikirun/lib/protocol";
import type { Payload, Run, Unread } from "../core/run.ts";

/** What each item of a reply takes besides what is counted, and each open wait of a run. Bytes. */
const itemBytes = 1_000;
const waitBytes = 300;

/** No item is added once it is spent; the last one may exceed it. */
export interface Budget {
  readonly isLeft: boolean;
  /** Bytes; 0 when nothing is left. */
  readonly left: number;
  /** Bytes that were taken. */
  readonly taken: number;
  /** For an item with these payloads. */
  take(...payloads: Array<Payload | Unread | null | undefined>): void;
  takeBytes(bytes: number): void;
}

export function replyBudget(bytes: number = limits.replyBytes): Budget {
  let taken = 0;
  return {
    get isLeft() {
      return taken < bytes;
    },
    get left() {
      return Math.max(0, bytes - taken);
    },
    get taken() {
      return taken;
    },
    take(...payloads) {
      taken += itemBytes + payloads.reduce((sum, payload) => sum + bytesOf(payload), 0);
    },
    takeBytes(more) {
      taken += more;
    },
  };
}

/** What one answer may take. */
export type Room = Pick<Budget, "isLeft" | "left" | "takeBytes">;

/**
 * The room for one of the answers to a request: what is left of its budget, and of that of the transaction. An answer
 * that is made again, in another transaction, first gives back what it took of the request's.
 */
export function roomIn(request: Budget): (transaction: Budget) => Room {
  let taken = 0;
  return (transaction) => {
    request.takeBytes(-taken);
    taken = 0;
    return {
      get isLeft() {
        return request.isLeft && transaction.isLeft;
      },
      get left() {
        return Math.min(request.left, transaction.left);
      },
      takeBytes(bytes) {
        taken += bytes;
        request.takeBytes(bytes);
        transaction.takeBytes(bytes);
      },
    };
  };
}

/** Takes from the budget what the view of a run holds. */
export function takeView(budget: Budget, { input, state, lastError }: Run): void {
  budget.take(input, state.status === "completed" ? state.output : null);
  for (const error of [lastError, state.status === "failed" ? state.error : null]) {
    // Its explanation says the message once more.
    budget.takeBytes(error === null ? 0 : 2 * JSON.stringify(error).length);
  }
}

/** What the open waits of a run take. Bytes. */
export function waitsBytes({ waits }: Pick<Run, "waits">): number {
  return waits.length * waitBytes;
}

/** Rows loaded with one statement: their size is known only then. */
const rowsAtOnce = 64;

/** The items in order, a part at a time. */
export function* parts<Item>(items: readonly Item[], most: number = rowsAtOnce): Generator<readonly Item[]> {
  for (let from = 0; from < items.length; from += most) {
    yield items.slice(from, from + most);
  }
}

function bytesOf(payload: Payload | Unread | null | undefined): number {
  return typeof payload === "string" ? payload.length : (payload?.bytes ?? 0);
}
