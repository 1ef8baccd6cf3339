/** Messages between servers of one database, as text. */

import { isRecord } from "@aikirun/lib/internal";
import type { QueueKey, RunId } from "@aikirun/lib/protocol";

/** What a commit changed. */
export interface Notification {
  changed: readonly RunId[];
  /** The queue of each run that became queued and woke no pending claim of the publishing server. */
  queues: readonly QueueKey[];
}

/** `hello`: requests `here`, which every server also sends regularly. `bye`: the server closes. */
export type Remark = "hello" | "here" | "bye";

export interface Message {
  /** An id of the server's process. */
  from: string;
  remark?: Remark;
  notification?: Notification;
}

/** A queue key in a message, without the names of its fields. */
type Packed = readonly [namespace: string, name: string, versionId: string, shardKey: string | null];

/** A notification as a message has it. */
interface PackedNotification {
  changed: RunId[];
  queues: Packed[];
}

/** Splits the notification into texts of at most `maxBytes`. A queue key that does not fit alone is left out. */
export function textsOf(from: string, { changed, queues }: Notification, maxBytes: number): string[] {
  const textOf = (parts: PackedNotification) => JSON.stringify({ from, ...parts });
  const emptyBytes = Buffer.byteLength(textOf({ changed: [], queues: [] }));
  const texts: string[] = [];
  let parts: PackedNotification = { changed: [], queues: [] };
  let bytes = emptyBytes;
  const add = (item: unknown, push: (parts: PackedNotification) => void) => {
    const more = Buffer.byteLength(JSON.stringify(item)) + 1;
    if (emptyBytes + more > maxBytes) return;
    if (bytes + more > maxBytes) {
      texts.push(textOf(parts));
      parts = { changed: [], queues: [] };
      bytes = emptyBytes;
    }
    push(parts);
    bytes += more;
  };
  for (const id of changed) add(id, (to) => to.changed.push(id));
  for (const { namespace, name, versionId, shardKey } of queues) {
    const packed: Packed = [namespace, name, versionId, shardKey];
    add(packed, (to) => to.queues.push(packed));
  }
  texts.push(textOf(parts));
  return texts;
}

/** Null for a text that is not a message of this version: others may publish to the channel. */
export function parseMessage(text: string): Message | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(value) || typeof value.from !== "string") return null;
  const { from, remark, changed = [], queues = [] } = value;
  if (remark === "hello" || remark === "here" || remark === "bye") return { from, remark };
  const isKnown = remark === undefined && Array.isArray(changed) && Array.isArray(queues);
  if (!isKnown || !changed.every(isText) || !queues.every(isPacked)) return null;
  const keys = queues.map(([namespace, name, versionId, shardKey]): QueueKey => {
    return { namespace, name, versionId, shardKey };
  });
  return { from, notification: { changed, queues: keys } };
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isPacked(value: unknown): value is Packed {
  if (!Array.isArray(value) || value.length !== 4) return false;
  const [namespace, name, versionId, shardKey] = value;
  return [namespace, name, versionId].every(isText) && (shardKey === null || isText(shardKey));
}
