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
  /** The streams to read by now. */
  streams: () => readonly string[];
  claimMinIdleTimeMs: number;
  notice: Notice;
}

/** How long Redis may take to answer; a blocking read, beyond the time for which it blocks. Milliseconds. */
const answerMs = 2_000;
const readAnswerMs = 1_000;
/** How many wake-ups of each stream that this session has not acknowledged are read again at once. */
const maxReadAgain = 1_000;
/** How many wake-ups of a dead consumer are claimed at a time. */
const maxClaimed = 100;
/** A consumer that has asked for nothing for so many times `claimMinIdleTimeMs` is removed. */
const deadAfter = 4;

/** Opens the connections and reads again what this session has not acknowledged. Never rejects. */
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
 * Wake-ups over two connections: one that only reads, because a read blocks what is sent after it, and one for the
 * rest. They end together. What was received and not acknowledged then stays in Redis for this session, and is read
 * again over the next connections.
 */
export class WakeUps {
  /** Resolves when no more can be received. */
  readonly lost: Promise<RedisRefusal>;
  readonly #reader: RedisConnection;
  readonly #writer: RedisConnection;
  readonly #options: WakeUpsOptions;
  /** Received, and not taken yet. */
  #received: WakeUp[] = [];
  #reading: Promise<void> | null = null;
  /** Calls that wait for the read under way. */
  #receivers = 0;
  /** Streams in which Redis may know this consumer. */
  readonly #joined = new Set<string>();
  readonly #cursors = new Map<string, string>();
  /** Commands under way whose answers nothing waits for. */
  readonly #commands = new Set<Promise<void>>();
  /** When to look for what dead consumers left behind; monotonic milliseconds. */
  #tidyAt = 0;
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
    this.#scheduleTidying();
  }

  /** Whether a read was ever answered. */
  get isProven(): boolean {
    return this.#isProven;
  }

  /** Reads what was not acknowledged, and tries the commands that will be needed. Null when all is well. */
  async begin(): Promise<RedisRefusal | null> {
    const again = await this.#read("0", maxReadAgain, 0);
    if (!Array.isArray(again)) return this.#fail(again);
    this.#received.push(...again);
    const [stream] = this.#options.streams();
    // No entry has this id.
    const tried = stream === undefined ? [] : await Promise.all(this.#delete(stream, ["0-1"]));
    const refused = tried.find(isRefused);
    return refused === undefined ? null : this.#fail(refused);
  }

  /**
   * Whether there are wake-ups. Waits for them up to `blockMs` milliseconds, at most `count` of each stream, or until
   * the signal aborts or the connection is lost. What arrives when no call waits for it is passed on.
   */
  async receive(count: number, blockMs: number, signal: AbortSignal): Promise<boolean> {
    if (this.#received.length === 0 && this.#options.env.elapsed() >= this.#tidyAt) {
      this.#scheduleTidying();
      await this.#claimIdle();
      this.#send(this.#removeDead());
    }
    if (this.#received.length === 0 && !signal.aborted) {
      this.#reading ??= this.#listen(count, blockMs);
      this.#receivers += 1;
      const reading = this.#reading;
      const onBegin = (wake: () => void): undefined => void reading.then(wake);
      await waitUntil(this.#options.env, { signals: [signal], onBegin });
      this.#receivers -= 1;
    }
    if (signal.aborted) this.passOn(this.take());
    return this.#received.length > 0;
  }

  /** Takes what was received. */
  take(): WakeUp[] {
    return this.#received.splice(0);
  }

  /** They have led to a claim: they are deleted. */
  acknowledge(wakeUps: readonly WakeUp[]): void {
    for (const [stream, ids] of byStream(wakeUps)) this.#send(this.#acknowledge(stream, ids));
  }

  /** Other workers are to claim: one new wake-up for each stream takes the place of these. */
  passOn(wakeUps: readonly WakeUp[]): void {
    for (const [stream, ids] of byStream(wakeUps)) {
      const replace = async () => {
        // Those that cannot be replaced stay, to be claimed from this consumer later.
        if ((await this.#publish(stream)).ok) await this.#acknowledge(stream, ids);
      };
      this.#send(replace());
    }
  }

  /** Passes on what was received, and removes this consumer, as far as Redis can be reached. */
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

  async #listen(count: number, blockMs: number): Promise<void> {
    const read = await this.#read(">", count, blockMs);
    this.#reading = null;
    if (!Array.isArray(read)) {
      if (!this.#isLeaving) this.#fail(read);
      return;
    }
    this.#isProven = true;
    this.#options.notice.back();
    if (this.#receivers > 0) this.#received.push(...read);
    else this.passOn(read);
  }

  /** What no consumer has read yet (`>`), or this one has not acknowledged (`0`). Creates groups that are missing. */
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

  /** From the beginning, so that wake-ups which came before the group are read. */
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

  /** From the entries that are pending, and from the stream. */
  #delete(stream: string, ids: readonly string[]): Array<Promise<RedisAnswer>> {
    return [this.#call(["xack", stream, wakeUpGroup, ...ids]), this.#call(["xdel", stream, ...ids])];
  }

  #publish(stream: string): Promise<RedisAnswer> {
    return this.#call(["xadd", stream, "maxlen", "~", wakeUpStreamLength, "*", "wake", "1"]);
  }

  /** Takes over what dead consumers have not acknowledged. */
  async #claimIdle(): Promise<void> {
    const { session, claimMinIdleTimeMs } = this.#options;
    await Promise.all(
      this.#options.streams().map(async (stream) => {
        const from = this.#cursors.get(stream) ?? "0-0";
        const whose = [stream, wakeUpGroup, session, claimMinIdleTimeMs] as const;
        const answer = await this.#call(["xautoclaim", ...whose, from, "count", maxClaimed, "justid"]);
        if (answer.ok) {
          this.#cursors.set(stream, cursorOf(answer.value));
          this.#received.push(...wakeUpsClaimed(stream, answer.value));
        } else {
          this.#dispensable("xautoclaim", answer);
        }
      }),
    );
  }

  /** Removes consumers of sessions that are gone and have nothing left. */
  async #removeDead(): Promise<void> {
    for (const stream of this.#options.streams()) {
      const answer = await this.#call(["xinfo", "consumers", stream, wakeUpGroup]);
      if (!answer.ok) {
        this.#dispensable("xinfo", answer);
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

  /** What the consumer has not acknowledged goes with it: one wake-up takes its place. */
  async #remove(stream: string, consumer: string): Promise<void> {
    const answer = await this.#call(["xgroup", "delconsumer", stream, wakeUpGroup, consumer]);
    if (answer.ok && typeof answer.value === "number" && answer.value > 0) await this.#publish(stream);
  }

  #call(command: readonly [string, ...Array<string | number>]): Promise<RedisAnswer> {
    return this.#writer.send(command, answerMs);
  }

  /** Wake-ups can be received without the refused command. */
  #dispensable(command: string, refusal: RedisRefusal): void {
    if (refusal.code !== "UNREACHABLE" && !isGroupless(refusal)) this.#options.notice.lacking(command, refusal);
  }

  #scheduleTidying(): void {
    const { env, claimMinIdleTimeMs } = this.#options;
    this.#tidyAt = env.elapsed() + claimMinIdleTimeMs * (0.5 + env.random());
  }

  #send(commands: Promise<void>): void {
    this.#commands.add(commands);
    void commands.then(() => this.#commands.delete(commands));
  }
}

/** The stream or its group is gone: never created, flushed, evicted. A blocked reader gets a code of its own. */
function isGroupless({ code }: RedisRefusal): boolean {
  return /^(NOGROUP|UNBLOCKED)$/.test(code);
}

function isRefused(answer: RedisAnswer): answer is RedisRefusal {
  return !answer.ok;
}
