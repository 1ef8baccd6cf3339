import type { Env, Logger } from "@aikirun/lib";
import { type QueueKey, wakeUpStream, wakeUpStreamLength } from "@aikirun/lib/protocol";
import {
  type RedisConnection,
  type RedisConnector,
  type RedisLink,
  type RedisRefusal,
  type RedisTarget,
  redisConnector,
  redisLink,
  unreachable,
} from "@aikirun/redis";
import type { Channel } from "./notifier.ts";

export interface RedisChannelOptions {
  target: RedisTarget;
  /** Whether other servers may use the database. If not, no messages are sent. */
  isShared: boolean;
  env: Env;
  logger: Logger;
}

/** How long Redis may take to connect and to answer. Milliseconds. */
const connectMs = 2_000;
const answerMs = 1_000;
/** The longest pause between two tries to connect. Milliseconds. */
const maxRetryIntervalMs = 2_000;
/** A server also receives its own messages. If it receives none for this long, it subscribes again. Milliseconds. */
const silentMs = 16_000;

/**
 * Messages between servers through Redis pub/sub, and wake-ups for workers through Redis Streams. Both are sent over
 * one connection, messages first: a worker that reads a wake-up finds servers that have received the message.
 */
export class RedisChannel implements Channel {
  readonly maxBytes = 100_000;
  readonly #options: RedisChannelOptions;
  readonly #connector: RedisConnector;
  readonly #commands: RedisLink<RedisConnection>;
  #subscription: RedisLink<RedisConnection> | null = null;
  /** When the last message was received; monotonic milliseconds. */
  #receivedAt = 0;
  #isAway = false;
  /** Whether Redis accepted the last wake-up. If full, or a replica, it refuses XADD but answers other commands. */
  #takesWakeUps = false;
  /** When to send a wake-up again after a refusal; monotonic milliseconds. */
  #tryAt = 0;
  /** Warnings that were logged and whose cause lasts. */
  readonly #warned = new Set<string>();

  constructor(options: RedisChannelOptions) {
    this.#options = options;
    this.#connector = redisConnector(options.target.params, options.env);
    this.#commands = this.#link((connection) => this.#begin(connection));
  }

  /** Resolves after the first try to reach Redis. */
  get tried(): Promise<void> {
    return this.#commands.tried;
  }

  get wakeUpPrefix(): string | undefined {
    return this.#commands.current === null || !this.#takesWakeUps ? undefined : this.#options.target.prefix;
  }

  listen(receive: (text: string) => void, connected: () => void): void {
    const { env, isShared } = this.#options;
    if (!isShared) return;
    const received = (text: string) => {
      this.#receivedAt = env.elapsed();
      receive(text);
    };
    this.#subscription = this.#link(async (connection) => {
      this.#receivedAt = env.elapsed();
      const answer = await connection.subscribe(this.#channel, received, answerMs);
      await this.tried;
      if (answer.ok) connected();
      return answer.ok ? null : answer;
    });
  }

  async send(texts: readonly string[], wakeUps: readonly QueueKey[]): Promise<void> {
    const connection = this.#commands.current;
    if (connection === null) throw new Error("Redis is not connected.");
    const { env, isShared } = this.#options;
    const [isPublished] = await Promise.all([
      this.#publish(connection, isShared ? texts : []),
      this.#wake(connection, wakeUps),
    ]);
    const isSilent = isPublished && env.elapsed() - this.#receivedAt > silentMs;
    if (isSilent) this.#subscription?.current?.close(unreachable("no messages are received"));
  }

  async close(): Promise<void> {
    await Promise.all([this.#commands.close(), this.#subscription?.close()]);
    this.#connector.close();
  }

  get #channel(): string {
    return `${this.#options.target.prefix}:notifications`;
  }

  /** Whether Redis accepted a message. */
  async #publish(connection: RedisConnection, texts: readonly string[]): Promise<boolean> {
    const answers = await Promise.all(texts.map((text) => connection.send(["publish", this.#channel, text], answerMs)));
    for (const answer of answers) {
      if (answer.ok) this.#warned.delete("publish");
      else if (answer.code !== "UNREACHABLE") {
        const line = "Redis refuses PUBLISH; servers notice changes of other servers within a second";
        this.#warnOnce("publish", line, { reason: answer.message });
      }
    }
    return answers.some(({ ok }) => ok);
  }

  /** Drops wake-ups that Redis refuses. Until it accepts one, replies say that none are published. */
  async #wake(connection: RedisConnection, queues: readonly QueueKey[]): Promise<void> {
    if (!this.#takesWakeUps) {
      if (this.#options.env.elapsed() >= this.#tryAt) await this.#tryWakeUp(connection);
      return;
    }
    const { prefix } = this.#options.target;
    const answers = await Promise.all(
      queues.map((queue) => add(connection, wakeUpStream(prefix, queue), ["maxlen", "~", wakeUpStreamLength])),
    );
    // If one key has a value of another type, wake-ups for other queues still work.
    const refusal = answers.find((answer) => answer !== null && answer.code !== "WRONGTYPE");
    if (refusal !== null && refusal !== undefined) this.#refuse(refusal);
  }

  async #tryWakeUp(connection: RedisConnection): Promise<void> {
    const refusal = await add(connection, `${this.#options.target.prefix}:test`, ["maxlen", 1]);
    if (refusal !== null) {
      this.#refuse(refusal);
      return;
    }
    this.#takesWakeUps = true;
    this.#noteBack();
  }

  #refuse(refusal: RedisRefusal): void {
    this.#takesWakeUps = false;
    this.#tryAt = this.#options.env.elapsed() + maxRetryIntervalMs;
    this.#noteAway(refusal);
  }

  #noteAway({ message }: RedisRefusal): void {
    const fields = { redis: this.#connector.at, reason: message };
    if (!this.#isAway) this.#options.logger.warn("Redis fails; workers poll meanwhile", fields);
    this.#isAway = true;
  }

  #noteBack(): void {
    if (this.#isAway) this.#options.logger.info("Redis is back", { redis: this.#connector.at });
    this.#isAway = false;
  }

  #link(begin: (connection: RedisConnection) => Promise<RedisRefusal | null>): RedisLink<RedisConnection> {
    return redisLink<RedisConnection>({
      env: this.#options.env,
      maxRetryIntervalMs,
      open: async () => {
        const made = await this.#connector.connect(connectMs);
        if (!made.ok) return made;
        const refusal = await begin(made.connection);
        if (refusal !== null) {
          made.connection.close();
          return refusal;
        }
        if (this.#takesWakeUps) this.#noteBack();
        return { ok: true, opened: made.connection };
      },
      onFailure: (refusal) => this.#noteAway(refusal),
    });
  }

  /** Messages are sent over the connection even if Redis refuses wake-ups. */
  async #begin(connection: RedisConnection): Promise<null> {
    await this.#tryWakeUp(connection);
    // If the Redis user may not execute INFO, this check is skipped.
    const answer = await connection.send(["info", "memory"], answerMs);
    const policy = answer.ok ? /maxmemory_policy:(\S+)/.exec(String(answer.value))?.[1] : undefined;
    if (policy !== undefined && policy !== "noeviction") {
      this.#warnOnce("policy", "Redis may evict streams: set maxmemory-policy to noeviction", { policy });
    }
    return null;
  }

  #warnOnce(what: string, line: string, fields: Record<string, string>): void {
    if (this.#warned.has(what)) return;
    this.#warned.add(what);
    this.#options.logger.warn(line, { redis: this.#connector.at, ...fields });
  }
}

/** Adds a wake-up. Null if Redis accepted it. */
async function add(
  connection: RedisConnection,
  stream: string,
  trim: ReadonlyArray<string | number>,
): Promise<RedisRefusal | null> {
  const answer = await connection.send(["xadd", stream, ...trim, "*", "wake", "1"], answerMs);
  return answer.ok ? null : answer;
}
