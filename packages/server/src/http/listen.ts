import { setMaxListeners } from "node:events";
import { createServer, type Server as NodeServer, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { AikiError } from "@aikirun/lib";
import { type Verb, verbs } from "@aikirun/lib/protocol";
import { getRequestListener } from "@hono/node-server";
import { createApp } from "./app.ts";
import { nodeExchange, sendReply } from "./exchange.ts";
import { type HttpContext, respond } from "./respond.ts";

/** A server socket that accepts connections. */
export interface Listener {
  /** `http://localhost:9090`: where to point a client. */
  readonly url: string;
  /** The port that the server listens on, also if 0 was requested. */
  readonly port: number;
  /** Takes no more requests, lets those under way end (at most 5 s), then cuts what is left. May be called twice. */
  close(): Promise<void>;
}

/** Headers must arrive within 10 s, a request within 75 s; a connection may be idle for 65 s. Milliseconds, bytes. */
const serverLimits = {
  headersTimeout: 10_000,
  requestTimeout: 75_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16_384,
};

/** How long requests under way may take to end when a listener closes. Milliseconds. */
const closeGraceMs = 5_000;

/** How often to close idle connections while closing, because Node does not close them itself. Milliseconds. */
const sweepMs = 20;

/** Throws `PORT_IN_USE` or `LISTEN_FAILED`. When the listener closes, long polls are answered first. */
export async function listenOn(context: Omit<HttpContext, "closing">, port: number, host: string): Promise<Listener> {
  const closing = new AbortController();
  // Every long poll adds a listener; more than ten are no leak.
  setMaxListeners(0, closing.signal);
  const sockets = new Set<Socket>();
  const node = createServer(serverLimits, requestListener({ ...context, closing: closing.signal }));
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
 * Answers verbs without Request and Response objects, which would cost more than the rest of the request. Other paths
 * use the same handler as a mounted server.
 */
function requestListener(context: HttpContext): RequestListener {
  const urls = ["", context.basePath].flatMap((base) =>
    verbs.map((verb): [string, Verb] => [`${base}/v1/${verb}`, verb]),
  );
  const byUrl = new Map<string | undefined, Verb>(urls);
  const others = getRequestListener(createApp(context), { overrideGlobalObjects: false });
  return async (incoming, outgoing) => {
    const verb = incoming.method === "POST" ? byUrl.get(incoming.url) : undefined;
    if (verb === undefined) return others(incoming, outgoing);
    sendReply(await respond(verb, nodeExchange(incoming, outgoing), context), outgoing);
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
    const sweep = setInterval(() => closeIdle(node, sockets), sweepMs);
    node.close(() => {
      clearTimeout(cut);
      clearInterval(sweep);
      resolve();
    });
    closeIdle(node, sockets);
  });
}

/** Also closes connections without any request: clients open some in advance, and Node does not count them as idle. */
function closeIdle(node: NodeServer, sockets: ReadonlySet<Socket>): void {
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
