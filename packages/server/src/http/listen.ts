import { setMaxListeners } from "node:events";
import { createServer, type Server as NodeServer, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { AikiError } from "@aikirun/lib";
import { type Verb, verbs } from "@aikirun/lib/protocol";
import { getRequestListener } from "@hono/node-server";
import { createApp } from "./app.ts";
import { nodeExchange, sendReply } from "./exchange.ts";
import { type Face, respond } from "./respond.ts";

/** A socket that is listened on. */
export interface Listener {
  /** `http://localhost:9090`: where to point a client. */
  readonly url: string;
  /** The port that the server listens on, also when 0 was asked for. */
  readonly port: number;
  /** Takes no more requests, lets those under way end (at most 5 s), then cuts what is left. May be called twice. */
  close(): Promise<void>;
}

/** A request's head must arrive within 10 s, its body within 75 s; a connection may rest for 65 s between requests. */
const limitsOfTime = {
  headersTimeout: 10_000,
  requestTimeout: 75_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16_384,
};

/** How long requests under way may take to end when a listener closes. Milliseconds. */
const closeGraceMs = 5_000;

/** A connection turns idle when its last request is answered, and Node does not end it by itself. */
const sweepMs = 20;

/** Throws `PORT_IN_USE` or `LISTEN_FAILED`. When the listener closes, long polls are answered first. */
export async function listenOn(face: Omit<Face, "closing">, port: number, host: string): Promise<Listener> {
  const closing = new AbortController();
  // Every long poll listens to it; ten are not a leak.
  setMaxListeners(0, closing.signal);
  const sockets = new Set<Socket>();
  const node = createServer(limitsOfTime, requestListener({ ...face, closing: closing.signal }));
  node.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await bound(node, port, host);
  const actual = portOf(node.address(), port);
  let closed: Promise<void> | null = null;
  return {
    url: `http://${hostInUrl(host)}:${actual}`,
    port: actual,
    close: () => {
      closing.abort();
      closed ??= ended(node, sockets);
      return closed;
    },
  };
}

/**
 * The verbs are answered without Request and Response objects, which would cost more than all the rest of the way;
 * everything else takes the same road as a mounted server.
 */
function requestListener(face: Face): RequestListener {
  const byUrl = new Map<string | undefined, Verb>(verbs.map((verb) => [`/v1/${verb}`, verb]));
  const others = getRequestListener(createApp(face), { overrideGlobalObjects: false });
  return async (incoming, outgoing) => {
    const verb = incoming.method === "POST" ? byUrl.get(incoming.url) : undefined;
    if (verb === undefined) return others(incoming, outgoing);
    sendReply(await respond(verb, nodeExchange(incoming, outgoing), face), outgoing);
  };
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function bound(node: NodeServer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    node.once("error", (cause: NodeJS.ErrnoException) => reject(explained(cause, port, host)));
    node.listen({ port, host, backlog: 1_024 }, () => resolve());
  });
}

function explained(cause: NodeJS.ErrnoException, port: number, host: string): AikiError {
  if (cause.code === "EADDRINUSE") {
    const message = `Port ${port} on ${host} is taken. Stop what listens there, or choose another port.`;
    return new AikiError("PORT_IN_USE", message, { cause });
  }
  return new AikiError("LISTEN_FAILED", `Cannot listen on ${host}:${port}: ${cause.message}.`, { cause });
}

function ended(node: NodeServer, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => node.closeAllConnections(), closeGraceMs);
    const sweep = setInterval(() => letGo(node, sockets), sweepMs);
    node.close(() => {
      clearTimeout(cut);
      clearInterval(sweep);
      resolve();
    });
    letGo(node, sockets);
  });
}

/** To Node a connection that has not asked for anything yet is not idle; clients open some in advance. */
function letGo(node: NodeServer, sockets: ReadonlySet<Socket>): void {
  node.closeIdleConnections();
  for (const socket of sockets) {
    if (socket.bytesRead === 0) socket.destroy();
  }
}

function portOf(address: AddressInfo | string | null, asked: number): number {
  return typeof address === "object" && address !== null ? address.port : asked;
}

function hostInUrl(host: string): string {
  if (host === "127.0.0.1" || host === "0.0.0.0" || host === "::") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}
