import { AikiError, type Env, type ErrorCode } from "@aikirun/lib";
import { isRecord, receivedCode } from "@aikirun/lib/internal";
import {
  type Api,
  type CallOptions,
  type ClaimReply,
  type FindReply,
  limits,
  type ReadReply,
  type RenewReply,
  type ReportReply,
  type SignalReply,
  type StartReply,
  type Verb,
  type WatchReply,
} from "@aikirun/lib/protocol";
import { ServerBusy } from "./transient.ts";
import type { HttpReply, Transport } from "./transport.ts";

export interface HttpTarget {
  readonly url: string;
  readonly apiKey: string | null;
}

/** How long to wait for an answer, in addition to the wait that the request requires. Milliseconds. */
const graceMs = 10_000;

/** The server's API over HTTP: each verb is one POST, tried once. */
export function httpApi(target: HttpTarget, env: Env, transport: Transport): Api {
  const post = poster(target, env, transport);
  return {
    start: (request, options) => post<StartReply>("start", request, 0, options, results(request.runs)),
    claim: (request, options) => post<ClaimReply>("claim", request, request.waitMs, options, runs),
    report: (request, options) => post<ReportReply>("report", request, 0, options, results(request.reports)),
    renew: (request, options) => post<RenewReply>("renew", request, 0, options, results(request.runs)),
    signal: (request, options) => post<SignalReply>("signal", request, 0, options, results(request.signals)),
    watch: (request, options) => post<WatchReply>("watch", request, request.waitMs, options, results(null)),
    find: (request, options) => post<FindReply>("find", request, 0, options, runs),
    read: (request, options) => post<ReadReply>("read", request, 0, options, firstResults(request.runs)),
  };
}

/** Checks only the structure of a reply, not the fields of its items. */
type HttpOutline<Reply> = (reply: unknown) => reply is Reply;

function results<Reply>(items: readonly unknown[] | null): HttpOutline<Reply> {
  return (reply): reply is Reply =>
    isRecord(reply) &&
    Array.isArray(reply.results) &&
    reply.results.every(isRecord) &&
    (items === null || reply.results.length === items.length);
}

/** Whether the reply has a result for each item or, with `more`, for at least the first one. */
function firstResults<Reply>(items: readonly unknown[]): HttpOutline<Reply> {
  return (reply): reply is Reply =>
    results<Reply>(items)(reply) ||
    (results<Reply>(null)(reply) && isRecord(reply) && reply.more === true && isPart(reply.results, items));
}

function isPart(results: unknown, items: readonly unknown[]): boolean {
  return Array.isArray(results) && results.length > 0 && results.length < items.length;
}

function runs<Reply>(reply: unknown): reply is Reply {
  return isRecord(reply) && Array.isArray(reply.runs) && reply.runs.every(isRecord);
}

function poster({ url, apiKey }: HttpTarget, env: Env, transport: Transport) {
  const headers: Record<string, string> = { "content-type": "application/json", accept: "application/json" };
  if (apiKey !== null) {
    headers.authorization = `Bearer ${apiKey}`;
  }
  return async <Reply>(
    verb: Verb,
    request: unknown,
    waitMs: number,
    { signal }: CallOptions = {},
    outline: HttpOutline<Reply>,
  ): Promise<Reply> => {
    const ids = { url, verb };
    if (isAborted(signal)) {
      throw aborted(verb, signal);
    }
    const allowedMs = Math.min(waitMs, limits.waitMs) + graceMs;
    const leave = new AbortController();
    const onAbort = () => leave.abort();
    signal?.addEventListener("abort", onAbort, { once: true });
    let late = false;
    const cancelTimer = env.after(allowedMs, () => {
      late = true;
      leave.abort();
    });
    try {
      const body = JSON.stringify(request);
      const answer = await transport.post(`${url}/v1/${verb}`, headers, body, leave.signal);
      return replyIn(answer, outline, ids);
    } catch (cause) {
      if (cause instanceof AikiError) {
        throw cause;
      }
      if (isAborted(signal)) {
        throw aborted(verb, signal);
      }
      const why = late ? `did not answer within ${allowedMs / 1_000} s` : `cannot be reached (${reasonOf(cause)})`;
      throw new AikiError(
        "UNREACHABLE",
        `The server at ${url} ${why}. Check that it is running and that the url is correct.`,
        {
          cause,
          ids,
        },
      );
    } finally {
      cancelTimer();
      signal?.removeEventListener("abort", onAbort);
    }
  };
}

function replyIn<Reply>(answer: HttpReply, outline: HttpOutline<Reply>, ids: Record<string, string>): Reply {
  let body: unknown;
  try {
    body = JSON.parse(answer.text);
  } catch {
    body = undefined;
  }
  if (answer.status < 200 || answer.status >= 300) {
    throw refusal(body, answer, ids);
  }
  if (!outline(body)) {
    throw new AikiError(
      "BAD_REPLY",
      `The program at ${ids.url} is not an Aiki server, or its version does not fit this client. Check the url.`,
      { ids },
    );
  }
  return body;
}

function refusal(body: unknown, answer: HttpReply, ids: Record<string, string>): AikiError {
  const { status } = answer;
  const error = isRecord(body) && isRecord(body.error) ? body.error : {};
  const code = typeof error.code === "string" ? receivedCode(error.code) : codeOf(status);
  const message = typeof error.message === "string" ? error.message : sentenceOf(answer, ids);
  return status === 429 || status >= 500
    ? new ServerBusy(code, message, ids, retryAfterMs(answer))
    : new AikiError(code, message, { ids });
}

function codeOf(status: number): ErrorCode {
  if (status === 401 || status === 403) return "UNAUTHORIZED";
  return status === 429 || status >= 500 ? "UNAVAILABLE" : "BAD_REQUEST";
}

function sentenceOf({ status, header }: HttpReply, { url, verb }: Record<string, string>): string {
  if (status === 401 || status === 403)
    return `The server at ${url} refuses these credentials (${status}); check apiKey.`;
  if (status === 404)
    return `Nothing answers at ${url}/v1/${verb} (404); check that the url is that of an Aiki server.`;
  if (status === 413)
    return `The server at ${url} refuses the request because it is too large (413). Send smaller payloads.`;
  const location = header("location");
  return location === null
    ? `The server at ${url} answered ${status} to ${verb}.`
    : `${url} redirects to ${location} (${status}). Use that url.`;
}

/** `Retry-After` is either seconds or a date. */
function retryAfterMs({ header }: HttpReply): number | null {
  const value = header("retry-after");
  if (value === null || value === "") {
    return null;
  }
  const seconds = Number(value);
  const ms = Number.isNaN(seconds) ? Date.parse(value) - Date.parse(header("date") ?? "") : seconds * 1_000;
  return ms >= 0 ? ms : null;
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function aborted(verb: Verb, signal: AbortSignal | undefined): AikiError {
  return new AikiError("ABORTED", `The caller aborted the call of ${verb}.`, { cause: signal?.reason });
}

function reasonOf(cause: unknown): string {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if ("code" in error && typeof error.code === "string") {
      return error.code;
    }
  }
  return cause instanceof Error ? cause.message : "unknown failure";
}
