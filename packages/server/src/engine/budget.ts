/** How many bytes the answers of one request, or of one transaction, may hold. */

import { limits } from "@aikirun/lib/protocol";
import type { Payload, Run, Unread } from "../core/run.ts";

/** The size of an item of a reply without its payloads, and of an open wait. Bytes. */
const itemBytes = 1_000;
const waitBytes = 300;

/** A number of bytes. When it is spent, no item is added; the last item may exceed it. */
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

/** How many bytes one answer may take. */
export type Room = Pick<Budget, "isLeft" | "left" | "takeBytes">;

/**
 * The room for one answer: what is left of the budgets of its request and of its transaction. If the answer is made
 * again in another transaction, it first returns what it took from the budget of the request.
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
    // The explanation repeats the message.
    budget.takeBytes(error === null ? 0 : 2 * JSON.stringify(error).length);
  }
}

/** The size of the open waits of a run. Bytes. */
export function waitsBytes({ waits }: Pick<Run, "waits">): number {
  return waits.length * waitBytes;
}

/** How many rows one statement loads. */
const rowsAtOnce = 64;

/** Splits the items into parts of at most `most`. */
export function* parts<Item>(items: readonly Item[], most: number = rowsAtOnce): Generator<readonly Item[]> {
  for (let from = 0; from < items.length; from += most) {
    yield items.slice(from, from + most);
  }
}

function bytesOf(payload: Payload | Unread | null | undefined): number {
  return typeof payload === "string" ? payload.length : (payload?.bytes ?? 0);
}
