import {
  pause,
  type RedisAnswer,
  type RedisConnection,
  type RedisConnector,
  type RedisRefusal,
} from "@aikirun/client/internal";
import type { Env } from "@aikirun/lib";
import { streamGroup, streamLength } from "@aikirun/lib/protocol";
import type { Notice } from "./notice.ts";
import { type Bell, bellsRead, bellsTaken, type Consumer, consumersOf, cursorOf } from "./replies.ts";

export interface DoorbellsOptions {
  env: Env;
  connector: RedisConnector;
  /** What this worker is called as a reader. */
  session: string;
  /** The streams to hear, by now. */
  keys: () => readonly string[];
  claimMinIdleTimeMs: number;
  notice: Notice;
}

/** How long Redis may take to answer; a blocking read gets less beyond its own time. Milliseconds. */
const patienceMs = 2_000;
const readPatienceMs = 1_000;
/** Of what this session was given and has not acknowledged, as much of each stream is read again at once. */
const mostAgain = 1_000;
/** Of what a dead reader left in a stream, so much is taken over at a time. */
const mostTaken = 100;
/** A reader is taken for dead when it asked for nothing for so many times `claimMinIdleTimeMs`. */
const deadAfter = 4;

/** Doorbells that can be heard, or why they cannot. */
export async function openDoorbells(options: DoorbellsOptions): Promise<Doorbells | RedisRefusal> {
  const reading = await options.connector.connect(patienceMs);
  if (!reading.ok) {
    return reading;
  }
  const writing = await options.connector.connect(patienceMs);
  if (!writing.ok) {
    reading.connection.close();
    return writing;
  }
  const doorbells = new Doorbells(reading.connection, writing.connection, options);
  const refusal = await doorbells.begin();
  return refusal ?? doorbells;
}

/**
 * Doorbells over two connections: one that only reads, because a read blocks whatever is sent after it, and one for all
 * else. They end with either. What was heard and not acknowledged then still stands in Redis under this session's name,
 * and the next doorbells begin by reading it again.
 */
export class Doorbells {
  /** Why they can be heard no longer. */
  readonly lost: Promise<RedisRefusal>;
  readonly #reader: RedisConnection;
  readonly #writer: RedisConnection;
  readonly #options: DoorbellsOptions;
  /** Heard, and not yet handed out. */
  #waiting: Bell[] = [];
  #listening: Promise<void> | null = null;
  /** Calls that wait for what is being read. */
  #hearers = 0;
  /** Streams in which Redis may know this session. */
  readonly #joined = new Set<string>();
  readonly #cursors = new Map<string, string>();
  /** Commands whose answers nobody waits for. */
  readonly #errands = new Set<Promise<void>>();
  /** When to look after what others left behind. Monotonic milliseconds. */
  #tidyAt = 0;
  #isProven = false;
  #isLeaving = false;
  /** Aborts when no more bells can be heard. */
  readonly #over = new AbortController();
  #lose: (refusal: RedisRefusal) => void = () => {};

  constructor(reader: RedisConnection, writer: RedisConnection, options: DoorbellsOptions) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
    this.#scheduleTidying();
  }

  /** Whether bells can still be heard. */
  get isOpen(): boolean {
    return !this.#over.signal.aborted;
  }

  /** Whether a read has ever come back. */
  get isProven(): boolean {
    return this.#isProven;
  }

  /** Reads again what was not acknowledged, and tries what will be needed. Null when all is well. */
  async begin(): Promise<RedisRefusal | null> {
    const again = await this.#read("0", mostAgain, 0);
    if (!Array.isArray(again)) {
      return this.#fail(again);
    }
    this.#waiting.push(...again);
    // No entry has this id.
    const tried = await Promise.all(
      this.#options
        .keys()
        .slice(0, 1)
        .flatMap((key) => this.#strike(key, ["0-1"])),
    );
    const refused = tried.find(isRefused);
    return refused === undefined ? null : this.#fail(refused);
  }

  /**
   * Whether bells can be heard. Waits for them up to `blockMs` milliseconds, at most `count` of each stream, or until
   * the signal aborts or the doorbells are lost; what rings when nobody waits rings again.
   */
  async isRung(count: number, blockMs: number, signal: AbortSignal): Promise<boolean> {
    if (this.#waiting.length === 0 && this.#options.env.elapsed() >= this.#tidyAt) {
      this.#scheduleTidying();
      await this.#takeOver();
      this.#errand(this.#sweep());
      if (signal.aborted) {
        this.passAll();
        return false;
      }
    }
    if (this.#waiting.length === 0) {
      this.#listening ??= this.#listen(count, blockMs);
      this.#hearers += 1;
      await settledOrAborted(this.#listening, signal);
      this.#hearers -= 1;
    }
    return this.#waiting.length > 0;
  }

  /** Takes the bells that rang. */
  heard(): Bell[] {
    return this.#waiting.splice(0);
  }

  /** They were answered: they ring no more. */
  answer(bells: readonly Bell[]): void {
    for (const [stream, ids] of byStream(bells)) this.#errand(this.#acknowledge(stream, ids));
  }

  /** They ring again, for others. Those that cannot are taken over some day. */
  pass(bells: readonly Bell[]): void {
    for (const [stream, ids] of byStream(bells)) this.#errand(this.#ringInstead(stream, ids));
  }

  /** All that rang. */
  passAll(): void {
    this.pass(this.heard());
  }

  /** Leaves nothing of this session behind, as far as Redis can be reached. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#over.abort();
    this.#reader.close();
    this.pass(this.#waiting.splice(0));
    await Promise.all(this.#errands);
    await Promise.all([...this.#joined].map((stream) => this.#remove(stream, this.#options.session)));
    this.close();
  }

  close(): void {
    this.#fail({ ok: false, code: "UNREACHABLE", message: "the connection was closed" });
  }

  #fail(refusal: RedisRefusal): RedisRefusal {
    this.#over.abort();
    this.#reader.close();
    this.#writer.close();
    this.#lose(refusal);
    return refusal;
  }

  async #listen(count: number, blockMs: number): Promise<void> {
    const read = await this.#read(">", count, blockMs);
    this.#listening = null;
    if (!Array.isArray(read)) {
      if (!this.#isLeaving) this.#fail(read);
      return;
    }
    this.#isProven = true;
    this.#options.notice.back();
    if (this.#hearers > 0) this.#waiting.push(...read);
    else this.pass(read);
  }

  /** What is new to all (`>`), or what this session was given before (`0`). Groups that are missing are made. */
  async #read(from: ">" | "0", count: number, blockMs: number): Promise<Bell[] | RedisRefusal> {
    const keys = this.#options.keys();
    if (keys.length === 0) {
      await pause(this.#options.env, blockMs, this.#over.signal);
      return [];
    }
    for (const key of keys) this.#joined.add(key);
    const wait = from === ">" ? (["block", Math.max(1, Math.round(blockMs))] as const) : [];
    const command = ["xreadgroup", "group", streamGroup, this.#options.session, "count", count, ...wait] as const;
    for (let isAgain = false; ; isAgain = true) {
      const answer = await this.#reader.send(
        [...command, "streams", ...keys, ...keys.map(() => from)],
        blockMs + readPatienceMs,
      );
      if (answer.ok) {
        return bellsRead(answer.value);
      }
      const refusal = isAgain || !isGroupless(answer) ? answer : await this.#makeGroups(keys);
      if (refusal !== null) {
        return refusal;
      }
    }
  }

  /** From the beginning: what rang before there was a group is heard. */
  async #makeGroups(keys: readonly string[]): Promise<RedisRefusal | null> {
    const answers = await Promise.all(
      keys.map((key) => this.#send(["xgroup", "create", key, streamGroup, "0", "mkstream"])),
    );
    return answers.filter(isRefused).find(({ code }) => !groupExists.test(code)) ?? null;
  }

  async #acknowledge(stream: string, ids: readonly string[]): Promise<void> {
    const refused = (await Promise.all(this.#strike(stream, ids))).filter(isRefused).find((one) => !isGroupless(one));
    if (refused !== undefined) {
      this.#fail(refused);
    }
  }

  /** Out of the list of what is pending, and out of the stream. */
  #strike(stream: string, ids: readonly string[]): Array<Promise<RedisAnswer>> {
    return [this.#send(["xack", stream, streamGroup, ...ids]), this.#send(["xdel", stream, ...ids])];
  }

  async #ringInstead(stream: string, ids: readonly string[]): Promise<void> {
    const answers = await Promise.all(ids.map(() => this.#ring(stream)));
    const rung = ids.filter((_, index) => answers[index]?.ok === true);
    if (rung.length > 0) {
      await this.#acknowledge(stream, rung);
    }
  }

  #ring(stream: string): Promise<RedisAnswer> {
    return this.#send(["xadd", stream, "maxlen", "~", streamLength, "*", "run", ""]);
  }

  /** What dead readers were given is given to this one. */
  async #takeOver(): Promise<void> {
    await Promise.all(
      this.#options.keys().map(async (key) => {
        const from = this.#cursors.get(key) ?? "0-0";
        const { session, claimMinIdleTimeMs } = this.#options;
        const whose = [key, streamGroup, session, claimMinIdleTimeMs] as const;
        const answer = await this.#send(["xautoclaim", ...whose, from, "count", mostTaken, "justid"]);
        if (answer.ok) {
          this.#cursors.set(key, cursorOf(answer.value));
          this.#waiting.push(...bellsTaken(key, answer.value));
        } else {
          this.#dispensable("xautoclaim", answer);
        }
      }),
    );
  }

  /** Sessions come and go; their names go too once nothing is left to them. */
  async #sweep(): Promise<void> {
    for (const key of this.#options.keys()) {
      const answer = await this.#send(["xinfo", "consumers", key, streamGroup]);
      if (!answer.ok) {
        this.#dispensable("xinfo", answer);
        return;
      }
      const dead = consumersOf(answer.value).filter((consumer) => this.#isDead(consumer));
      await Promise.all(dead.map(({ name }) => this.#remove(key, name)));
    }
  }

  #isDead({ name, pending, idleMs }: Consumer): boolean {
    const { session, claimMinIdleTimeMs } = this.#options;
    return name !== session && pending === 0 && idleMs >= deadAfter * claimMinIdleTimeMs;
  }

  /** With a reader goes what it was given: that rings again. */
  async #remove(stream: string, consumer: string): Promise<void> {
    const answer = await this.#send(["xgroup", "delconsumer", stream, streamGroup, consumer]);
    const left = answer.ok && typeof answer.value === "number" ? Math.min(answer.value, mostAgain) : 0;
    await Promise.all(Array.from({ length: left }, () => this.#ring(stream)));
  }

  #send(command: readonly [string, ...Array<string | number>]): Promise<RedisAnswer> {
    return this.#writer.send(command, patienceMs);
  }

  /** Doorbells can do without. */
  #dispensable(command: string, refusal: RedisRefusal): void {
    if (refusal.code === "UNREACHABLE") {
      this.#fail(refusal);
    } else if (!isGroupless(refusal)) {
      this.#options.notice.lacking(command, refusal);
    }
  }

  #scheduleTidying(): void {
    const { env, claimMinIdleTimeMs } = this.#options;
    this.#tidyAt = env.elapsed() + claimMinIdleTimeMs * (0.5 + env.random());
  }

  #errand(work: Promise<void>): void {
    this.#errands.add(work);
    void work.then(() => this.#errands.delete(work));
  }
}

const groupExists = /^BUSYGROUP$/;

/** The stream or its group is gone: never made, flushed, evicted. A blocked reader is told in words of its own. */
function isGroupless({ code }: RedisRefusal): boolean {
  return /^(NOGROUP|UNBLOCKED)$/.test(code);
}

function isRefused(answer: RedisAnswer): answer is RedisRefusal {
  return !answer.ok;
}

function byStream(bells: readonly Bell[]): Map<string, string[]> {
  const streams = new Map<string, string[]>();
  for (const { stream, id } of bells) {
    const ids = streams.get(stream);
    if (ids === undefined) streams.set(stream, [id]);
    else ids.push(id);
  }
  return streams;
}

function settledOrAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      signal.removeEventListener("abort", end);
      resolve();
    };
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    void work.then(end);
  });
}
