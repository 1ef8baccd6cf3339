import { isAikiError, type Logger } from "@aikirun/lib";
import { describeError } from "@aikirun/lib/internal";
import type { Verb } from "@aikirun/lib/protocol";
import type { Admit } from "./admit.ts";
import { answers } from "./answers.ts";
import type { Bodies } from "./bodies.ts";
import { readJson } from "./body.ts";
import type { Exchange, Reply } from "./exchange.ts";
import { checkHost, checkOrigin, type Hosts } from "./origin.ts";
import { HttpRefusal } from "./refusal.ts";
import { faultReply, jsonReply } from "./replies.ts";

/** What the HTTP handlers need from the server. */
export interface HttpContext {
  /** The path below which the server is reachable, such as `/x/y`; empty for the root. */
  basePath: string;
  admit: Admit;
  hosts: Hosts;
  /** Rejects when storage cannot commit a write now. */
  ready: () => Promise<unknown>;
  bodies: Bodies;
  /** Aborts when the server closes: it takes no new requests and answers long polls. */
  closing: AbortSignal;
  logger: Logger;
  /** A new id, for an error that the log explains. */
  id: () => string;
}

/** Answers a POST of one verb. Never rejects, and never replies 5xx because of invalid input. */
export async function respond(verb: Verb, exchange: Exchange, context: HttpContext): Promise<Reply> {
  const held = context.bodies.open();
  try {
    checkHost(exchange, context.hosts);
    checkOrigin(exchange);
    const api = await context.admit(exchange, verb);
    const body = await readJson(exchange, held);
    if (context.closing.aborted) throw unavailable();
    if (verb === "claim" || verb === "watch") {
      // Long polls may wait for a minute, and their requests have no payloads.
      held.release();
      const answer = (signal: AbortSignal) => answers[verb](api, body, { signal });
      return jsonReply(200, await interruptible(answer, exchange.gone(), context.closing));
    }
    return jsonReply(200, await answers[verb](api, body));
  } catch (thrown) {
    return faultReply(thrown) ?? unexpected(thrown, context);
  } finally {
    held.release();
  }
}

export async function readiness({ ready, closing, logger }: HttpContext): Promise<Reply> {
  if (closing.aborted) throw unavailable();
  try {
    await ready();
    return jsonReply(200, { status: "ready" });
  } catch (thrown) {
    // Storage faults are logged elsewhere.
    if (!isAikiError(thrown)) logger.error("the readiness of storage could not be checked", { error: thrown });
    throw new HttpRefusal(503, "UNAVAILABLE", "Storage takes no writes now.", { "retry-after": "1" });
  }
}

/** The reply contains only an error id; the log has the error. */
export function unexpected(thrown: unknown, { logger, id }: HttpContext): Reply {
  const errorId = id();
  // Loggers omit undefined and may show little of values that are no Error.
  const error = thrown instanceof Error ? thrown : describeError(thrown);
  logger.error("a request failed unexpectedly", { errorId, error });
  const message = `The server failed. Its log says why under error id ${errorId}.`;
  return jsonReply(500, { error: { code: "INTERNAL", message, errorId } });
}

/** Aborts when the client disconnects, so that runs claimed for it are released, and when the server closes. */
async function interruptible(
  answer: (signal: AbortSignal) => Promise<unknown>,
  gone: AbortSignal,
  closing: AbortSignal,
): Promise<unknown> {
  const either = new AbortController();
  const abort = () => either.abort();
  gone.addEventListener("abort", abort);
  closing.addEventListener("abort", abort);
  if (gone.aborted) abort();
  try {
    return await answer(either.signal);
  } catch (thrown) {
    if (either.signal.aborted) throw unavailable();
    throw thrown;
  } finally {
    gone.removeEventListener("abort", abort);
    closing.removeEventListener("abort", abort);
  }
}

function unavailable(): HttpRefusal {
  return new HttpRefusal(503, "UNAVAILABLE", "The server is closing. Try again.", { "retry-after": "1" });
}
