import { addressOf, hashPayload } from "@aikirun/lib";
import type { Address, Payload } from "@aikirun/lib/protocol";

/** How much of the hash of an input tells one call from another in an address. */
const hashDigits = 32;

/** What stands for an input in an address. */
export function contentOf(payload: Payload | undefined): string {
  return hashPayload(payload).slice(0, hashDigits);
}

/** Counts repeats in call order, so that the same call made again has an address of its own. */
export class Addresses {
  readonly #repeats = new Map<Address, number>();

  next(kind: string, name: string | null, content: string | null): Address {
    const first = addressOf(kind, name, content, 0);
    const ordinal = this.#repeats.get(first) ?? 0;
    this.#repeats.set(first, ordinal + 1);
    return ordinal === 0 ? first : addressOf(kind, name, content, ordinal);
  }
}
