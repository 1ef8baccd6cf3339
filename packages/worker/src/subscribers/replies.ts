/** Parses Redis' replies about streams. A reply of another shape counts as empty. */

/** An entry of a stream. Its content does not matter. */
export interface WakeUp {
  readonly stream: string;
  readonly id: string;
}

/** A consumer of a stream's group. */
export interface Consumer {
  name: string;
  /** Entries that it has read and not acknowledged. */
  pending: number;
  /** The time since its last read. Milliseconds. */
  idleMs: number;
}

/** Parses XREADGROUP: the entries of each stream, each with its id first; null when there are none. */
export function wakeUpsRead(reply: unknown): WakeUp[] {
  return listOf(reply).flatMap((one) => {
    const [stream, entries] = listOf(one);
    return listOf(entries).flatMap((entry) => wakeUpOf(stream, listOf(entry)[0]));
  });
}

/** Parses XAUTOCLAIM: the cursor for the next call. */
export function cursorOf(reply: unknown): string {
  const [cursor] = listOf(reply);
  return typeof cursor === "string" ? cursor : "0-0";
}

/** Parses XAUTOCLAIM with JUSTID: ids, after the cursor. Redis 7 also returns the ids of deleted entries. */
export function wakeUpsClaimed(stream: string, reply: unknown): WakeUp[] {
  const [, ids] = listOf(reply);
  return listOf(ids).flatMap((id) => wakeUpOf(stream, id));
}

/** Parses XINFO CONSUMERS: a list of names and values for each consumer; newer versions of Redis add names. */
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

/** The ids of wake-ups, by stream. */
export function byStream(wakeUps: readonly WakeUp[]): Map<string, string[]> {
  const streams = new Map<string, string[]>();
  for (const { stream, id } of wakeUps) {
    const ids = streams.get(stream);
    if (ids === undefined) streams.set(stream, [id]);
    else ids.push(id);
  }
  return streams;
}

function wakeUpOf(stream: unknown, id: unknown): WakeUp[] {
  return typeof stream === "string" && typeof id === "string" ? [{ stream, id }] : [];
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
