import type { Env } from "@aikirun/lib";
import { pause, waitUntil } from "@aikirun/lib/internal";
import { wakeUpGroup, wakeUpStreamLength } from "@aikirun/lib/protocol";
import type { RedisAnswer, RedisConnection, RedisConnector, RedisRefusal } from "@aikirun/redis";
import type { Notice } from "./notice.ts";
import { byStream, type Consumer, consumersOf, cursorOf, type WakeUp, wakeUpsClaimed, wakeUpsRead } from "./replies.ts";

export interface WakeUpsOptions {
  env: Env;
  connector: RedisConnector;
  /** The name of this worker as a consumer. */
  session: string;
  /** The streams to read now. */
  streams: () => readonly string[];
  claimMinIdleTimeMs: number;
  notice: Notice;
}

/** How long Redis may take to answer a command. Milliseconds. */
const answerMs = 2_000;
/** How long Redis may take to answer a read, in addition to the time for which the read blocks. Milliseconds. */
const readAnswerMs = 1_000;
/** The maximum number of unacknowledged wake-ups of this session that one read returns for each stream. */
const maxReadAgain = 1_000;
/** The maximum number of wake-ups of dead consumers that one command takes over. */
const maxClaimed = 100;
/** A consumer that has read nothing for this many times `claimMinIdleTimeMs` is removed. */
const deadAfter = 4;

/** Opens the connections and reads the unacknowledged wake-ups of this session again. Never rejects. */
export async function openWakeUps(options: WakeUpsOptions): Promise<{ ok: true; opened: WakeUps } | RedisRefusal> {
  const reading = await options.connector.connect(answerMs);
  if (!reading.ok) return reading;
  const writing = await options.connector.connect(answerMs);
  if (!writing.ok) {
    reading.connection.close();
    return writing;
  }
  const opened = new WakeUps(reading.connection, writing.connection, options);
  const refusal = await opened.begin();
  return refusal ?? { ok: true, opened };
}

/**
 * Receives wake-ups over two connections: one only for reads, because a read blocks later commands, and one for all
 * other commands. If one is lost, the other one is closed. Unacknowledged wake-ups then stay in Redis for this session
 * and are read again over the next connections.
 */
export class WakeUps {
  /** Resolves when a connection is lost: no more wake-ups can be received. */
  readonly lost: Promise<RedisRefusal>;
  readonly #reader: RedisConnection;
  readonly #writer: RedisConnection;
  readonly #options: WakeUpsOptions;
  /** Received wake-ups that `take` has not returned yet. */
  #received: WakeUp[] = [];
  #reading: Promise<void> | null = null;
  /** Calls that wait for the pending read. */
  #receivers = 0;
  /** Streams whose group may contain this consumer. */
  readonly #joined = new Set<string>();
  readonly #cursors = new Map<string, string>();
  /** Pending commands whose answers no call awaits. */
  readonly #commands = new Set<Promise<void>>();
  /** When to take over the wake-ups of dead consumers next; monotonic milliseconds. */
  #cleanUpAt = 0;
  #isProven = false;
  #isLeaving = false;
  readonly #ended = new AbortController();

  constructor(reader: RedisConnection, writer: RedisConnection, options: WakeUpsOptions) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
    this.lost = Promise.race([reader.lost, writer.lost]).then((refusal) => {
      this.#fail(refusal);
      return refusal;
    });
    this.#scheduleCleanUp();
  }

  /** Whether Redis has answered at least one read for new wake-ups. */
  get isProven(): boolean {
    return this.#isProven;
  }

  /** Reads unacknowledged wake-ups and tries the required commands. Resolves to null if Redis accepts all of them. */
  async begin(): Promise<RedisRefusal | null> {
    const again = await this.#read("0", maxReadAgain, 0);
    if (!Array.isArray(again)) return this.#fail(again);
    this.#received.push(...again);
    const [stream] = this.#options.streams();
    // No entry has this id, so the commands change nothing.
    const tried = stream === undefined ? [] : await Promise.all(this.#delete(stream, ["0-1"]));
    const refused = tried.find(isRefused);
    return refused === undefined ? null : this.#fail(refused);
  }

  /**
   * Resolves to true if there are wake-ups. Waits up to `blockMs` milliseconds for at most `count` wake-ups of each
   * stream, or until the signal aborts or the connection is lost. Wake-ups that arrive while no call waits are passed
   * on to other workers.
   */
  async receive(count: number, blockMs: number, signal: AbortSignal): Promise<boolean> {
    if (this.#received.length === 0 && this.#options.env.elapsed() >= this.#cleanUpAt) {
      this.#scheduleCleanUp();
      await this.#claimIdle();
      this.#send(this.#removeDead());
    }
    if (this.#received.length === 0 && !signal.aborted) {
      this.#reading ??= this.#readNew(count, blockMs);
      this.#receivers += 1;
      const reading = this.#reading;
      const onBegin = (wake: () => void): undefined => void reading.then(wake);
      await waitUntil(this.#options.env, { signals: [signal], onBegin });
      this.#receivers -= 1;
    }
    if (signal.aborted) this.passOn(this.take());
    return this.#received.length > 0;
  }

  /** Removes and returns the received wake-ups. */
  take(): WakeUp[] {
    return this.#received.splice(0);
  }

  /** Deletes wake-ups after their claim was answered. */
  acknowledge(wakeUps: readonly WakeUp[]): void {
    for (const [stream, ids] of byStream(wakeUps)) this.#send(this.#acknowledge(stream, ids));
  }

  /** Replaces these wake-ups by one new wake-up for each stream, so that another worker claims. */
  passOn(wakeUps: readonly WakeUp[]): void {
    for (const [stream, ids] of byStream(wakeUps)) {
      const replace = async () => {
        // Wake-ups that cannot be replaced stay; another consumer takes them over later.
        if ((await this.#publish(stream)).ok) await this.#acknowledge(stream, ids);
      };
      this.#send(replace());
    }
  }

  /** Passes on the received wake-ups and removes this consumer, if Redis can be reached. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#ended.abort();
    this.passOn(this.take());
    await Promise.all(this.#commands);
    await Promise.all([...this.#joined].map((stream) => this.#remove(stream, this.#options.session)));
    this.close();
  }

  close(): void {
    this.#reader.close();
    this.#writer.close();
  }

  #fail(refusal: RedisRefusal): RedisRefusal {
    this.#ended.abort();
    this.#reader.close(refusal);
    this.#writer.close(refusal);
    return refusal;
  }

  async #readNew(count: number, blockMs: number): Promise<void> {
    const read = await this.#read(">", count, blockMs);
    this.#reading = null;
    if (!Array.isArray(read)) {
      if (!this.#isLeaving) this.#fail(read);
      return;
    }
    this.#isProven = true;
    this.#options.notice.available();
    if (this.#receivers > 0) this.#received.push(...read);
    else this.passOn(read);
  }

  /** Reads new wake-ups (`>`), or those that this consumer has not acknowledged (`0`). Creates missing groups. */
  async #read(from: ">" | "0", count: number, blockMs: number): Promise<WakeUp[] | RedisRefusal> {
    const streams = this.#options.streams();
    if (streams.length === 0) {
      await pause(this.#options.env, blockMs, this.#ended.signal);
      return [];
    }
    for (const stream of streams) this.#joined.add(stream);
    const wait = from === ">" ? (["block", Math.max(1, Math.round(blockMs))] as const) : [];
    const command = ["xreadgroup", "group", wakeUpGroup, this.#options.session, "count", count, ...wait] as const;
    for (let isAgain = false; ; isAgain = true) {
      const answer = await this.#reader.send(
        [...command, "streams", ...streams, ...streams.map(() => from)],
        blockMs + readAnswerMs,
      );
      if (answer.ok) return wakeUpsRead(answer.value);
      const refusal = isAgain || !isGroupless(answer) ? answer : await this.#createGroups(streams);
      if (refusal !== null) return refusal;
    }
  }

  /** The group begins at the start of the stream, so that earlier wake-ups are read. */
  async #createGroups(streams: readonly string[]): Promise<RedisRefusal | null> {
    const answers = await Promise.all(
      streams.map((stream) => this.#call(["xgroup", "create", stream, wakeUpGroup, "0", "mkstream"])),
    );
    return answers.filter(isRefused).find(({ code }) => code !== "BUSYGROUP") ?? null;
  }

  async #acknowledge(stream: string, ids: readonly string[]): Promise<void> {
    const refused = (await Promise.all(this.#delete(stream, ids))).filter(isRefused).find((one) => !isGroupless(one));
    if (refused !== undefined) this.#fail(refused);
  }

  /** Deletes the wake-ups from the pending entries and from the stream. */
  #delete(stream: string, ids: readonly string[]): Array<Promise<RedisAnswer>> {
    return [this.#call(["xack", stream, wakeUpGroup, ...ids]), this.#call(["xdel", stream, ...ids])];
  }

  #publish(stream: string): Promise<RedisAnswer> {
    return this.#call(["xadd", stream, "maxlen", "~", wakeUpStreamLength, "*", "wake", "1"]);
  }

  /** Takes over the unacknowledged wake-ups of dead consumers. */
  async #claimIdle(): Promise<void> {
    const { session, claimMinIdleTimeMs } = this.#options;
    await Promise.all(
      this.#options.streams().map(async (stream) => {
        const from = this.#cursors.get(stream) ?? "0-0";
        const group = [stream, wakeUpGroup, session, claimMinIdleTimeMs] as const;
        const answer = await this.#call(["xautoclaim", ...group, from, "count", maxClaimed, "justid"]);
        if (answer.ok) {
          this.#cursors.set(stream, cursorOf(answer.value));
          this.#received.push(...wakeUpsClaimed(stream, answer.value));
        } else {
          this.#logRefusal("xautoclaim", answer);
        }
      }),
    );
  }

  /** Removes the consumers of ended sessions that have no unacknowledged wake-ups. */
  async #removeDead(): Promise<void> {
    for (const stream of this.#options.streams()) {
      const answer = await this.#call(["xinfo", "consumers", stream, wakeUpGroup]);
      if (!answer.ok) {
        this.#logRefusal("xinfo", answer);
        return;
      }
      const dead = consumersOf(answer.value).filter((consumer) => this.#isDead(consumer));
      await Promise.all(dead.map(({ name }) => this.#remove(stream, name)));
    }
  }

  #isDead({ name, pending, idleMs }: Consumer): boolean {
    const { session, claimMinIdleTimeMs } = this.#options;
    return name !== session && pending === 0 && idleMs >= deadAfter * claimMinIdleTimeMs;
  }

  /** Removes the consumer and its unacknowledged wake-ups; one new wake-up replaces them. */
  async #remove(stream: string, consumer: string): Promise<void> {
    const answer = await this.#call(["xgroup", "delconsumer", stream, wakeUpGroup, consumer]);
    if (answer.ok && typeof answer.value === "number" && answer.value > 0) await this.#publish(stream);
  }

  #call(command: readonly [string, ...Array<string | number>]): Promise<RedisAnswer> {
    return this.#writer.send(command, answerMs);
  }

  /** Logs the refusal of an optional command. */
  #logRefusal(command: string, refusal: RedisRefusal): void {
    if (refusal.code !== "UNREACHABLE" && !isGroupless(refusal)) this.#options.notice.commandRefused(command, refusal);
  }

  #scheduleCleanUp(): void {
    const { env, claimMinIdleTimeMs } = this.#options;
    this.#cleanUpAt = env.elapsed() + claimMinIdleTimeMs * (0.5 + env.random());
  }

  #send(commands: Promise<void>): void {
    this.#commands.add(commands);
    void commands.then(() => this.#commands.delete(commands));
  }
}

/**
 * Whether the stream or its group does not exist: it was never created, or was deleted. A blocked read has its own
 * code.
 */
function isGroupless({ code }: RedisRefusal): boolean {
  return /^(NOGROUP|UNBLOCKED)$/.test(code);
}

function isRefused(answer: RedisAnswer): answer is RedisRefusal {
  return !answer.ok;
}
