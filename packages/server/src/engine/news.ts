/**
 * What servers of one database tell one another after a commit: which runs changed, and which became queued, so that
 * who waits for them elsewhere hears of it at once. All of it may be lost: the sweep of a second covers it.
 */

import type { Cancel, Env } from "@aikirun/lib";
import { batcher, isRecord } from "@aikirun/lib/internal";
import type { RunId } from "@aikirun/lib/protocol";
import type { Hint } from "../delivery/ready.ts";

/** Carries short texts to all servers of a database, this one among them. */
export interface Channel {
  /** From now on; what was said before is not heard. `connected` is called whenever a connection stands. */
  listen(hear: (text: string) => void, connected: () => void): void;
  /** Rejects when that cannot be said now. */
  say(texts: readonly string[]): Promise<void>;
  /** UTF-8 bytes of one text at most. */
  readonly maxBytes: number;
  close(): Promise<void>;
}

export interface News {
  start(): void;
  /** `queued`: those that nobody here was woken for. */
  tell(changed: readonly RunId[], queued: readonly Hint[]): void;
  /** A claim is to be answered now by the server that holds it. */
  recall(claimId: string): void;
  close(): Promise<void>;
}

export interface NewsOptions {
  env: Env;
  channel: Channel;
  /** What another server told. */
  hear: (changed: readonly RunId[], queued: readonly Hint[]) => void;
  /** What another server recalls. */
  recalled: (claimId: string) => void;
}

/** How often a server shows that it is there. Milliseconds. */
const presentMs = 5_000;
/** One that was silent for so long is not told anything. Milliseconds. */
const silentMs = 16_000;
/** Facts that wait to be told; more are dropped, for the others to find in storage. */
const maxWaiting = 10_000;

/** One fact: a run that changed, and where it is queued when it is. */
type Fact = RunId | [id: RunId, namespace: string, name: string, versionId: string, shard: string | null, rank: number];

interface Message {
  from: string;
  /** `hello` is answered by `here`; facts and recalls come with neither. */
  says?: "hello" | "here" | "bye";
  facts?: Fact[];
  recalls?: string;
}

export function serverNews({ env, channel, hear, recalled }: NewsOptions): News {
  const self = env.id();
  const others = new Map<string, number>();
  let waiting = 0;
  let last: Promise<void> = Promise.resolve();
  let isClosed = false;
  let cancel: Cancel = () => {};

  const say = (message: Omit<Message, "from">): Promise<void> =>
    channel.say([JSON.stringify({ from: self, ...message })]).catch(() => {});

  const tellFacts = batcher<Fact, void>({
    max: maxWaiting,
    soon: env.soon,
    async send(facts) {
      await channel.say(texts(self, facts, channel.maxBytes)).catch(() => {});
      return facts.map(() => undefined);
    },
  });

  const post = (fact: Fact) => {
    if (waiting < maxWaiting) {
      waiting += 1;
      last = tellFacts(fact).finally(() => {
        waiting -= 1;
      });
    }
  };

  const receive = (text: string) => {
    const message = parsed(text);
    if (message === null || message.from === self || isClosed) {
      return;
    }
    if (message.says === "bye") {
      others.delete(message.from);
      return;
    }
    others.set(message.from, env.elapsed());
    if (message.says === "hello") {
      void say({ says: "here" });
    }
    if (message.recalls !== undefined) {
      recalled(message.recalls);
    }
    const facts = message.facts ?? [];
    if (facts.length > 0) {
      hear(
        facts.map((fact) => (typeof fact === "string" ? fact : fact[0])),
        facts.flatMap((fact) => (typeof fact === "string" ? [] : [hintOf(fact)])),
      );
    }
  };

  const isAlone = (): boolean => {
    for (const [other, heardAt] of others) {
      if (env.elapsed() - heardAt <= silentMs) {
        return false;
      }
      others.delete(other);
    }
    return true;
  };

  const show = () => {
    cancel = env.after(presentMs, show);
    void say({ says: "here" });
  };

  return {
    start() {
      channel.listen(receive, () => void say({ says: "hello" }));
      cancel = env.after(presentMs, show);
    },
    tell(changed, queued) {
      if (isClosed || isAlone()) {
        return;
      }
      const hints = new Map(queued.map((hint) => [hint.id, hint]));
      for (const id of changed) {
        const hint = hints.get(id);
        post(hint === undefined ? id : factOf(hint));
      }
    },
    recall(claimId) {
      if (!isClosed && !isAlone()) {
        void say({ recalls: claimId });
      }
    },
    async close() {
      if (!isClosed) {
        isClosed = true;
        cancel();
        await last;
        await say({ says: "bye" });
        await channel.close();
      }
    },
  };
}

function factOf({ id, namespace, name, versionId, shardKey, priority }: Hint): Fact {
  return [id, namespace, name, versionId, shardKey, priority];
}

function hintOf([id, namespace, name, versionId, shardKey, priority]: Exclude<Fact, string>): Hint {
  return { id, namespace, name, versionId, shardKey, priority };
}

/** As many facts to a text as fit. One that would not fit alone shrinks to its id. */
function texts(from: string, facts: readonly Fact[], maxBytes: number): string[] {
  const empty = Buffer.byteLength(JSON.stringify({ from, facts: [] }));
  const all: string[] = [];
  let some: Fact[] = [];
  let bytes = empty;
  for (const fact of facts) {
    const isLong = typeof fact !== "string" && Buffer.byteLength(JSON.stringify(fact)) > maxBytes - empty - 1;
    const fitting = isLong ? fact[0] : fact;
    const more = Buffer.byteLength(JSON.stringify(fitting)) + 1;
    if (bytes + more > maxBytes) {
      all.push(JSON.stringify({ from, facts: some }));
      some = [];
      bytes = empty;
    }
    some.push(fitting);
    bytes += more;
  }
  all.push(JSON.stringify({ from, facts: some }));
  return all;
}

/** Null for what is no message of a server of this version: whoever may write to the channel can say anything. */
function parsed(text: string): Message | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return isMessage(value) ? value : null;
}

function isMessage(value: unknown): value is Message {
  if (!isRecord(value) || typeof value.from !== "string") {
    return false;
  }
  const { says, facts = [], recalls = "" } = value;
  const isKnown = says === undefined || says === "hello" || says === "here" || says === "bye";
  return isKnown && typeof recalls === "string" && Array.isArray(facts) && facts.every(isFact);
}

function isFact(fact: unknown): boolean {
  if (typeof fact === "string") {
    return true;
  }
  if (!Array.isArray(fact) || fact.length !== 6) {
    return false;
  }
  const [id, namespace, name, versionId, shard, priority] = fact;
  const areTexts = [id, namespace, name, versionId].every((part) => typeof part === "string");
  return areTexts && (shard === null || typeof shard === "string") && typeof priority === "number";
}
