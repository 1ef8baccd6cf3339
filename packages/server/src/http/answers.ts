/**
 * Answers each verb: checks the request, passes valid items to the Api, and rejects invalid ones at their index. A
 * request is first parsed as a whole; only if that fails, its items are parsed one by one.
 */

import { type Api, type CallOptions, type Rejection, type Verb, wrapApi } from "@aikirun/lib/protocol";
import type { z } from "zod";
import { BadRequest } from "./refusal.ts";
import {
  claimRequest,
  findRequest,
  type Loose,
  looseRead,
  looseRenew,
  looseReport,
  looseSignal,
  looseStart,
  readItem,
  readRequest,
  renewItem,
  renewRequest,
  report,
  reportRequest,
  runSpec,
  signalItem,
  signalRequest,
  startRequest,
  watchRequest,
} from "./schemas.ts";

/** Answers a request of unknown content. Throws `BadRequest` when it cannot be read as a whole. */
type VerbHandler<V extends Verb> = (api: Api, body: unknown, options?: CallOptions) => ReturnType<Api[V]>;

export const answers: { readonly [V in Verb]: VerbHandler<V> } = {
  start: batch({
    whole: startRequest,
    loose: looseStart,
    item: runSpec,
    items: "runs",
    call: (api, request, options) => api.start(request, options),
    rebuild: (_, runs) => ({ runs }),
  }),
  claim: async (api, body, options) => api.claim(parsed(claimRequest, body), options),
  report: batch({
    whole: reportRequest,
    loose: looseReport,
    item: report,
    items: "reports",
    call: (api, request, options) => api.report(request, options),
    rebuild: ({ session, worker }, reports) => ({ session, worker, reports }),
  }),
  renew: batch({
    whole: renewRequest,
    loose: looseRenew,
    item: renewItem,
    items: "runs",
    call: (api, request, options) => api.renew(request, options),
    rebuild: (loose, runs) => ({ ...loose, runs }),
  }),
  signal: batch({
    whole: signalRequest,
    loose: looseSignal,
    item: signalItem,
    items: "signals",
    call: (api, request, options) => api.signal(request, options),
    rebuild: (_, signals) => ({ signals }),
  }),
  watch: async (api, body, options) => api.watch(parsed(watchRequest, body), options),
  find: async (api, body, options) => api.find(parsed(findRequest, body), options),
  read: batch({
    whole: readRequest,
    loose: looseRead,
    item: readItem,
    items: "runs",
    call: (api, request, options) => api.read(request, options),
    rebuild: (loose, runs) => ({ ...loose, runs }),
  }),
};

/**
 * The same checks for callers in this process, on values that users write: names, references, durations, filters,
 * payloads. Values that only the worker creates (claims, leases, entries) are not checked: that would slow every run,
 * and code in the same process can corrupt the server anyway.
 */
export function checked(api: Api): Api {
  return {
    ...wrapApi(api, (_, call) => call),
    start: (request, options) => answers.start(api, request, options),
    report: (request, options) =>
      request.reports.some((one) => one.starts.length > 0 || one.opens.length > 0)
        ? answers.report(api, request, options)
        : api.report(request, options),
    signal: (request, options) => answers.signal(api, request, options),
    find: (request, options) => answers.find(api, request, options),
    read: (request, options) => answers.read(api, request, options),
  };
}

interface BatchVerb<Request, Items extends keyof Request & string, Item, Result> {
  whole: z.ZodType<Request>;
  loose: z.ZodType<Loose<Request, Items>>;
  item: z.ZodType<Item>;
  items: Items;
  call(api: Api, request: Request, options?: CallOptions): Promise<{ results: Array<Result | Rejection> }>;
  rebuild(loose: Loose<Request, Items>, items: Item[]): Request;
}

function batch<Request, Items extends keyof Request & string, Item, Result>(
  verb: BatchVerb<Request, Items, Item, Result>,
): (api: Api, body: unknown, options?: CallOptions) => Promise<{ results: Array<Result | Rejection> }> {
  return async (api, body, options) => {
    const whole = verb.whole.safeParse(body);
    if (whole.success) return verb.call(api, whole.data, options);
    return callWithValidItems(verb, api, parsed(verb.loose, body), options);
  };
}

async function callWithValidItems<Request, Items extends keyof Request & string, Item, Result>(
  verb: BatchVerb<Request, Items, Item, Result>,
  api: Api,
  loose: Loose<Request, Items>,
  options?: CallOptions,
): Promise<{ results: Array<Result | Rejection> }> {
  const bodies: unknown[] = loose[verb.items];
  const good: Item[] = [];
  const rejections = bodies.map((body, index) => {
    const item = verb.item.safeParse(body);
    if (!item.success) return rejected(item.error.issues, `${verb.items}[${index}]`);
    good.push(item.data);
    return null;
  });
  const reply = await verb.call(api, verb.rebuild(loose, good), options);
  const answered = reply.results;
  let taken = 0;
  const results: Array<Result | Rejection> = [];
  for (const rejection of rejections) {
    const result = rejection ?? answered[taken++];
    // The reply was full: the caller requests the remaining items again.
    if (result === undefined) break;
    results.push(result);
  }
  return { ...reply, results };
}

function parsed<Request>(schema: z.ZodType<Request>, body: unknown): Request {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new BadRequest(described(result.error.issues, ""), listed(result.error.issues));
}

function rejected(issues: readonly z.core.$ZodIssue[], where: string): Rejection {
  const overLimit = issues.some((issue) => issue.code === "custom" && issue.params?.limit === true);
  return { ok: false, code: overLimit ? "LIMIT_EXCEEDED" : "BAD_REQUEST", message: described(issues, where) };
}

/** What is wrong, in one line: the first three places and how many more there are. */
function described(issues: readonly z.core.$ZodIssue[], where: string): string {
  const named = listed(issues)
    .slice(0, 3)
    .map(({ path, message }) => `${joined(where, path)}: ${message}`);
  const more = issues.length > named.length ? ` (and ${issues.length - named.length} more)` : "";
  return `${named.join("; ")}${more}.`;
}

function listed(issues: readonly z.core.$ZodIssue[]): Array<{ path: string; message: string }> {
  return issues.slice(0, 20).map((issue) => ({ path: pathOf(issue.path), message: issue.message.slice(0, 500) }));
}

function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .slice(0, 500);
}

function joined(where: string, path: string): string {
  return `${where}${path}`.replace(/^\./, "") || "request";
}
