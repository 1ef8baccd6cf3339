/** What is known of the runs of one workflow version in one shard: who is hinted at, who waits, whose turn it is. */

import { Hints } from "./hints.ts";

/** Runs of one workflow version in one shard. */
export interface StreamName {
  name: string;
  versionId: string;
  shardKey: string | null;
}

/** Counts what made lists doubtful. */
export type Moment = number;

export interface Stream {
  readonly hints: Hints;
  /**
   * Whether `hints` holds all that storage has queued and nobody else holds. What is not whole is to be asked for in
   * storage at once.
   */
  isWhole: boolean;
  /** When that was last doubted. */
  doubtedAt: Moment;
  /** When storage is to be asked again; monotonic milliseconds. */
  askAt: number;
  /** The turn in which it was last served. */
  turn: number;
  /** In order of arrival. */
  readonly waiters: Set<{ wake: () => void }>;
}

const atOnce = Number.NEGATIVE_INFINITY;

export class Streams {
  readonly #streams = new Map<string, Stream>();
  #turns = 0;
  #doubts: Moment = 0;

  get moment(): Moment {
    return this.#doubts;
  }

  known(namespace: string, name: StreamName): Stream | undefined {
    return this.#streams.get(keyOf(namespace, name));
  }

  at(namespace: string, name: StreamName): Stream {
    const key = keyOf(namespace, name);
    const found = this.#streams.get(key);
    if (found !== undefined) {
      return found;
    }
    const made: Stream = {
      hints: new Hints(),
      isWhole: false,
      doubtedAt: 0,
      askAt: atOnce,
      turn: 0,
      waiters: new Set(),
    };
    this.#streams.set(key, made);
    return made;
  }

  of({ namespace, streams }: { namespace: string; streams: readonly StreamName[] }): Stream[] {
    return streams.map((name) => this.at(namespace, name));
  }

  all(): Iterable<Stream> {
    return this.#streams.values();
  }

  /** One of its runs is handed out: all others come before it now. */
  serve(stream: Stream): void {
    this.#turns += 1;
    stream.turn = this.#turns;
  }

  doubt(stream: Stream): void {
    this.#doubts += 1;
    stream.doubtedAt = this.#doubts;
    stream.isWhole = false;
    stream.askAt = atOnce;
  }
}

function keyOf(namespace: string, { name, versionId, shardKey }: StreamName): string {
  return JSON.stringify([namespace, name, versionId, shardKey]);
}
