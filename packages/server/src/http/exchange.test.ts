import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { expect, it } from "vitest";
import { nodeExchange } from "./exchange.ts";

it("a body whose sender disconnected during the lookup of its key is refused", async () => {
  let onRequest = (_: [IncomingMessage, ServerResponse]) => {};
  const request = new Promise<[IncomingMessage, ServerResponse]>((resolve) => (onRequest = resolve));
  const node = createServer((incoming, outgoing) => onRequest([incoming, outgoing])).listen(0, "127.0.0.1");
  await once(node, "listening");
  const address = node.address();
  const socket = connect(typeof address === "object" && address !== null ? address.port : 0, "127.0.0.1");
  socket.write("POST /v1/find HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n");
  const [incoming, outgoing] = await request;
  const closed = once(outgoing, "close");
  socket.destroy();
  await closed;
  await expect(nodeExchange(incoming, outgoing).body(() => {})).rejects.toMatchObject({ code: "BAD_REQUEST" });
  node.close();
});
