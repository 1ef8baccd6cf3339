/**
 * Publishes after each commit which runs it changed, so that other servers of the database drop the cached rows, and
 * which queues have runs for which no claim is pending here, so that other servers and workers claim them. Any message
 * may be lost, doubled or reordered: other servers read storage every second, and workers claim every 5 s.
 */

import type { Cancel, Env } from "@aikirun/lib";
import { type QueueKey, queueText, type RunId } from "@aikirun/lib/protocol";
import { type Message, type Notification, parseMessage, type Remark, textsOf } from "./message.ts";

export interface Notifier {
  /** Never rejects: what cannot be sent is dropped. */
  publish(notification: Notification): void;
  /** Sets the receiver of what other servers publish. To be called once. */
  onMessage(receive: (notification: Notification) => void): void;
  /** The prefix of the keys of wake-up streams; undefined while no wake-ups are published. */
  readonly wakeUpPrefix: string | undefined;
  /** Resolves when everything published before has been sent. */
  close(): Promise<void>;
}

/** Sends messages to all servers of a database, including this one, and wake-ups to workers. */
export interface Channel {
  /** The largest message. UTF-8 bytes. */
  readonly maxBytes: number;
  readonly wakeUpPrefix?: string | undefined;
  /** Sets the receiver. `connected` is called after each connect: messages sent before it may be missing. */
  listen(receive: (text: string) => void, connected: () => void): void;
  /** Messages arrive before a worker reads the wake-ups. Rejects when they cannot be sent now. */
  send(texts: readonly string[], wakeUps: readonly QueueKey[]): Promise<void>;
  close(): Promise<void>;
}

/** How often a server sends `here`. Milliseconds. */
const presenceIntervalMs = 5_000;
/** A server that sent nothing for this long counts as dead. If all others are dead, nothing is sent. Milliseconds. */
const silentMs = 16_000;
/** How many changed runs, and how many queues, may wait to be sent. Further ones are dropped. */
const maxWaiting = 10_000;
/** One wake-up is published for this many queued runs of a queue, but at most `maxWakeUps` at once. */
const runsForEachWakeUp = 10;
const maxWakeUps = 10;

/** For how many runs of a queue wake-ups are to be published. */
interface QueueCount {
  key: QueueKey;
  count: number;
}

/** A notifier that publishes through a channel. */
export class ChannelNotifier implements Notifier {
  readonly #env: Env;
  readonly #channel: Channel;
  readonly #self: string;
  /** When the last message of each other server arrived; monotonic milliseconds. */
  readonly #others = new Map<string, number>();
  #changed = new Set<RunId>();
  #queues = new Map<string, QueueCount>();
  #sending: Promise<void> | null = null;
  #isClosed = false;
  #cancel: Cancel = () => {};

  constructor(env: Env, channel: Channel) {
    this.#env = env;
    this.#channel = channel;
    this.#self = env.id();
  }

  publish({ changed, queues }: Notification): void {
    if (this.#isClosed) return;
    const hasOthers = !this.#isAlone();
    for (const id of hasOthers ? changed : []) if (this.#changed.size < maxWaiting) this.#changed.add(id);
    for (const key of hasOthers || this.wakeUpPrefix !== undefined ? queues : []) {
      const text = queueText(key);
      const before = this.#queues.get(text)?.count ?? 0;
      if (before > 0 || this.#queues.size < maxWaiting) this.#queues.set(text, { key, count: before + 1 });
    }
    if (this.#changed.size > 0 || this.#queues.size > 0) this.#sending ??= this.#send();
  }

  onMessage(receive: (notification: Notification) => void): void {
    this.#channel.listen(
      (text) => this.#receive(text, receive),
      () => void this.#remark("hello"),
    );
    this.#presentLater();
  }

  get wakeUpPrefix(): string | undefined {
    return this.#channel.wakeUpPrefix;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancel();
    await this.#sending;
    await this.#remark("bye");
    await this.#channel.close();
  }

  #remark(remark: Remark): Promise<void> {
    const message: Message = { from: this.#self, remark };
    return this.#channel.send([JSON.stringify(message)], []).catch(() => {});
  }

  #presentLater(): void {
    this.#cancel = this.#env.after(presenceIntervalMs, () => {
      this.#presentLater();
      void this.#remark("here");
    });
  }

  #isAlone(): boolean {
    for (const [other, seenAt] of this.#others) {
      if (this.#env.elapsed() - seenAt <= silentMs) return false;
      this.#others.delete(other);
    }
    return true;
  }

  /** Sends everything that waits; what is published meanwhile is sent together afterwards. */
  async #send(): Promise<void> {
    await new Promise<void>((resolve) => this.#env.soon(resolve));
    while (this.#changed.size > 0 || this.#queues.size > 0) {
      const [changed, counts] = [[...this.#changed], [...this.#queues.values()]];
      this.#changed = new Set();
      this.#queues = new Map();
      const queues = counts.map(({ key }) => key);
      const texts = this.#isAlone() ? [] : textsOf(this.#self, { changed, queues }, this.#channel.maxBytes);
      await this.#channel.send(texts, counts.flatMap(wakeUpsFor)).catch(() => {});
    }
    this.#sending = null;
  }

  #receive(text: string, then: (notification: Notification) => void): void {
    const message = parseMessage(text);
    if (message === null || message.from === this.#self || this.#isClosed) return;
    if (message.remark === "bye") {
      this.#others.delete(message.from);
      return;
    }
    this.#others.set(message.from, this.#env.elapsed());
    if (message.remark === "hello") void this.#remark("here");
    if (message.notification !== undefined) then(message.notification);
  }
}

function wakeUpsFor({ key, count }: QueueCount): QueueKey[] {
  return Array<QueueKey>(Math.min(maxWakeUps, Math.ceil(count / runsForEachWakeUp))).fill(key);
}
