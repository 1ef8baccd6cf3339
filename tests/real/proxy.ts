/** A road to a database that a test can break at a chosen moment. */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface Proxy {
  url: string;
  /** The next message to the database that holds this text still arrives; its answer, and all that follows, do not. */
  cutAfter(text: string): void;
  /** Swallows everything from now on, both ways, and closes nothing. */
  fall(silent: boolean): void;
  close(): Promise<void>;
}

export async function proxyTo(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let deadly: string | null = null;
  let isSilent = false;

  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    let isCut = false;
    near.on("data", (chunk) => {
      if (isSilent) return;
      far.write(chunk);
      if (deadly === null || !chunk.includes(deadly)) return;
      deadly = null;
      isCut = true;
    });
    far.on("data", (chunk) => {
      if (isCut) near.destroy();
      else if (!isSilent) near.write(chunk);
    });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on("error", () => one.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = new URL(target);
  url.port = String(typeof address === "object" ? address?.port : "");
  return {
    url: url.href,
    cutAfter(text) {
      deadly = text;
    },
    fall(silent) {
      isSilent = silent;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
