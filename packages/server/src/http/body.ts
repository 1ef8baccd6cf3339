import type { Body } from "./bodies.ts";
import type { Exchange } from "./exchange.ts";
import { BadRequest, HttpRefusal } from "./refusal.ts";

/** The maximum depth of nesting. No message of the protocol comes near it; deeper ones are attacks. */
const maxDepth = 200;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The JSON in a request's body, whose bytes `held` counts. Throws `Refusal` or `BadRequest`. */
export async function readJson(exchange: Exchange, held: Body): Promise<unknown> {
  const type = exchange.header("content-type");
  if (type === null || !/^application\/json\s*(;|$)/i.test(type)) {
    throw new HttpRefusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send the request as content-type: application/json.");
  }
  if (exchange.header("content-encoding") !== null) {
    throw new HttpRefusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send the request without content-encoding.");
  }
  const body = parseJson(await exchange.body(held.take));
  if (!shallow(body, maxDepth)) throw new BadRequest(`The request nests deeper than ${maxDepth} levels.`);
  return body;
}

function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new BadRequest("The request is not UTF-8.");
  }
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new BadRequest(`The request is not JSON: ${thrown instanceof Error ? thrown.message.slice(0, 200) : ""}`);
  }
}

function shallow(value: unknown, left: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (left === 0) return false;
  const parts: unknown[] = Array.isArray(value) ? value : Object.values(value);
  return parts.every((part) => shallow(part, left - 1));
}
