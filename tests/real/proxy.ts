/** A TCP proxy that a test can break at a chosen moment. */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface NetworkProxy {
  /** The url of the first target, with the port of the proxy. */
  url: string;
  /** Forwards the next request that contains this text, drops the reply, and closes the connection. */
  loseReplyTo(text: string): void;
  /** Forwards new connections to this target. Existing connections stay open. */
  forwardTo(to: string): void;
  /** How many connections `loseReplyTo` has closed. */
  readonly cuts: number;
  /** Closes all connections and returns their number. */
  cutAll(): number;
  /**
   * With true, drops all data in both directions and keeps connections open. With false, works again, and closes the
   * connections that have lost data.
   */
  dropAll(silent: boolean): void;
  close(): Promise<void>;
}

/** With several targets, each connection goes to the next target in turn that accepts it. */
export async function proxyTo(first: string, ...others: string[]): Promise<NetworkProxy> {
  let targets = [first, ...others].map((target) => new URL(target));
  const ways = new Set<Way>();
  let deadly: string | null = null;
  let isSilent = false;
  let cuts = 0;
  let turn = 0;

  const server = createServer((near) => {
    const way: Way = { near, far: null, waiting: [], isCut: false };
    ways.add(way);
    near.on("error", () => near.destroy());
    near.on("close", () => {
      ways.delete(way);
      way.far?.destroy();
    });
    near.on("data", (chunk) => {
      if (isSilent) return;
      if (way.far === null) way.waiting.push(chunk);
      else way.far.write(chunk);
      if (deadly === null || !chunk.includes(deadly)) return;
      deadly = null;
      way.isCut = true;
    });
    const answer = (chunk: Buffer) => {
      if (way.isCut) {
        cuts += 1;
        near.destroy();
      } else if (!isSilent) near.write(chunk);
    };
    reach(way, inTurn(targets, turn), answer);
    turn += 1;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = new URL(first);
  url.port = String(typeof address === "object" ? address?.port : "");
  const endAll = () => {
    const count = ways.size;
    for (const { near } of ways) near.resetAndDestroy();
    return count;
  };
  return {
    url: url.href,
    get cuts() {
      return cuts;
    },
    loseReplyTo(text) {
      deadly = text;
    },
    forwardTo(to) {
      targets = [new URL(to)];
    },
    cutAll: endAll,
    dropAll(silent) {
      if (isSilent && !silent) endAll();
      isSilent = silent;
    },
    async close() {
      endAll();
      server.close();
      await once(server, "close");
    },
  };
}

/** One connection to the proxy, with its connection to a target. */
interface Way {
  near: Socket;
  far: Socket | null;
  /** Data that arrived before the target accepted the connection. */
  waiting: Buffer[];
  isCut: boolean;
}

function reach(way: Way, [target, ...others]: URL[], answer: (chunk: Buffer) => void): void {
  if (target === undefined) {
    way.near.destroy();
    return;
  }
  const far = connect(Number(target.port), target.hostname);
  far.once("connect", () => {
    if (way.near.destroyed) {
      far.destroy();
      return;
    }
    way.far = far;
    for (const chunk of way.waiting.splice(0)) far.write(chunk);
  });
  far.on("data", answer);
  far.once("error", () => {
    far.destroy();
    if (way.far === null && !way.near.destroyed) reach(way, others, answer);
  });
  far.once("close", () => {
    if (way.far === far) way.near.destroy();
  });
}

function inTurn(targets: readonly URL[], turn: number): URL[] {
  const at = turn % targets.length;
  return [...targets.slice(at), ...targets.slice(0, at)];
}
