import { isAikiError, type Logger } from "@aikirun/lib";
import { describeError } from "@aikirun/lib/internal";
import type { Verb } from "@aikirun/lib/protocol";
import type { Admit } from "./admit.ts";
import { answers } from "./answers.ts";
import type { Bodies } from "./bodies.ts";
import { readJson } from "./body.ts";
import type { Exchange, Reply } from "./exchange.ts";
import { checkHost, checkOrigin, type Hosts } from "./origin.ts";
import { Refusal } from "./refusal.ts";
import { faultReply, jsonReply } from "./replies.ts";

/** What the HTTP face of a server needs of it. */
export interface Face {
  admit: Admit;
  hosts: Hosts;
  /** Rejects when storage cannot commit a write now. */
  ready: () => Promise<unknown>;
  bodies: Bodies;
  /** Aborts when no more may be begun; long polls are answered then. */
  closing: AbortSignal;
  logger: Logger;
  /** A new id, for an error that the log explains. */
  id: () => string;
}

/** Answers a POST of one verb. Never rejects, and never answers 5xx because of what came in. */
export async function respond(verb: Verb, exchange: Exchange, face: Face): Promise<Reply> {
  const held = face.bodies.open();
  try {
    checkHost(exchange, face.hosts);
    checkOrigin(exchange);
    const api = await face.admit(exchange, verb);
    const body = await readJson(exchange, held);
    if (face.closing.aborted) throw unavailable();
    if (verb === "claim" || verb === "watch") {
      // They may wait for a minute, and have no payloads.
      held.release();
      const answer = (signal: AbortSignal) => answers[verb](api, body, { signal });
      return jsonReply(200, await interruptible(answer, exchange.gone(), face.closing));
    }
    return jsonReply(200, await answers[verb](api, body));
  } catch (thrown) {
    return faultReply(thrown) ?? unexpected(thrown, face);
  } finally {
    held.release();
  }
}

export async function readiness({ ready, closing, logger }: Face): Promise<Reply> {
  if (closing.aborted) throw unavailable();
  try {
    await ready();
    return jsonReply(200, { status: "ready" });
  } catch (thrown) {
    // Faults of the storage are in the log already.
    if (!isAikiError(thrown)) logger.error("the readiness of storage could not be checked", { error: thrown });
    throw new Refusal(503, "UNAVAILABLE", "Storage takes no writes now.", { "retry-after": "1" });
  }
}

/** The caller learns an id and nothing else; the log has the rest. */
export function unexpected(thrown: unknown, { logger, id }: Face): Reply {
  const errorId = id();
  // A log leaves out what is undefined and may show little of what is no Error.
  const error = thrown instanceof Error ? thrown : describeError(thrown);
  logger.error("a request failed unexpectedly", { errorId, error });
  const message = `The server failed. Its log says why under error id ${errorId}.`;
  return jsonReply(500, { error: { code: "INTERNAL", message, errorId } });
}

/** Gives up when the client has gone, so that what was claimed for it is released, and when the server closes. */
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

function unavailable(): Refusal {
  return new Refusal(503, "UNAVAILABLE", "The server is closing. Try again.", { "retry-after": "1" });
}
