/** What Redis answers of streams, as far as doorbells need it. Whatever has another shape holds nothing. */

/** A doorbell that rang: an entry of a stream. What it says is not looked at. */
export interface Bell {
  readonly stream: string;
  readonly id: string;
}

/** A reader of a stream's group. */
export interface Consumer {
  name: string;
  /** Entries that it was given and has not acknowledged. */
  pending: number;
  /** How long it has asked for nothing. Milliseconds. */
  idleMs: number;
}

/** Of XREADGROUP: for each stream its entries, which begin with their ids; null when there was none. */
export function bellsRead(reply: unknown): Bell[] {
  return listOf(reply).flatMap((one) => {
    const [stream, entries] = listOf(one);
    return listOf(entries).flatMap((entry) => bellOf(stream, listOf(entry)[0]));
  });
}

/** Of XAUTOCLAIM: where the next one goes on. */
export function cursorOf(reply: unknown): string {
  const [cursor] = listOf(reply);
  return typeof cursor === "string" ? cursor : "0-0";
}

/** Of XAUTOCLAIM with JUSTID: ids, after the cursor. Redis 7 adds the ids of entries that were deleted meanwhile. */
export function bellsTaken(stream: string, reply: unknown): Bell[] {
  const [, ids] = listOf(reply);
  return listOf(ids).flatMap((id) => bellOf(stream, id));
}

/** Of XINFO CONSUMERS: for each a list of names and values, to which newer versions add. */
export function consumersOf(reply: unknown): Consumer[] {
  return listOf(reply).flatMap((one) => {
    const fields = listOf(one);
    const field = (name: string) => fields[fields.indexOf(name) + 1];
    const [name, pending, idleMs] = [field("name"), field("pending"), field("idle")];
    return typeof name === "string" && typeof pending === "number" && typeof idleMs === "number"
      ? [{ name, pending, idleMs }]
      : [];
  });
}

function bellOf(stream: unknown, id: unknown): Bell[] {
  return typeof stream === "string" && typeof id === "string" ? [{ stream, id }] : [];
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
