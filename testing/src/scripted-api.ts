import {
  type Api,
  apiFrom,
  type ClaimedRun,
  type Entry,
  type ReplyOf,
  type RequestOf,
  type RunView,
  type Verb,
  type WatchReply,
  type WatchRequest,
  type WatchResult,
} from "@aikirun/lib/protocol";

/** How a scripted server answers; a verb without a script never answers. */
export type Script = {
  [V in Verb]?: (request: RequestOf<V>, signal: AbortSignal | undefined) => ReplyOf<V> | Promise<ReplyOf<V>>;
};

export interface ScriptedCall<Request> {
  request: Request;
  signal: AbortSignal | undefined;
}

export interface ScriptedApi {
  api: Api;
  /** The calls so far, by verb, in order. */
  calls: { readonly [V in Verb]: Array<ScriptedCall<RequestOf<V>>> };
}

/** An Api that answers from the script and keeps every call. */
export function scriptedApi(script: Script): ScriptedApi {
  const calls: ScriptedApi["calls"] = {
    start: [],
    claim: [],
    report: [],
    renew: [],
    signal: [],
    watch: [],
    find: [],
    read: [],
  };
  const answer = async <Request, Reply>(
    log: Array<ScriptedCall<Request>>,
    request: Request,
    signal: AbortSignal | undefined,
    reply: ((request: Request, signal: AbortSignal | undefined) => Reply | Promise<Reply>) | undefined,
  ): Promise<Reply> => {
    log.push({ request: structuredClone(request), signal });
    return reply === undefined ? untilAborted(signal) : reply(request, signal);
  };
  const api = apiFrom((verb) => (request, options) => {
    return answer(calls[verb], request, options?.signal, script[verb]);
  });
  return { api, calls };
}

/** A long poll without an answer: it rejects when the caller aborts it. */
export function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
}

export function viewOf(id: string, fields: Partial<RunView> = {}): RunView {
  const isCompleted = fields.status === undefined || fields.status === "completed";
  return {
    id,
    name: "order",
    versionId: "1.0.0",
    status: "completed",
    since: 0,
    revision: 3,
    attempt: 1,
    createdAt: 1,
    updatedAt: 2,
    priority: 0,
    tags: [],
    waits: [],
    awaitedChildren: 0,
    unboundEvents: [],
    dueAt: null,
    explanation: "It has completed.",
    ...(isCompleted ? { outcome: { status: "completed", output: '"done"' } } : {}),
    ...fields,
  };
}

export interface ScriptedWatch {
  /** Answers the watches of the run: it is completed. */
  end(id: string): void;
  /** Answers the watches of the run, those of now and later ones, with this result. */
  setResult(id: string, result: WatchResult): void;
  watch(request: WatchRequest, signal: AbortSignal | undefined): Promise<WatchReply>;
}

/** The verb `watch` of a server: a call is answered when one of its runs has a result. */
export function scriptedWatch(): ScriptedWatch {
  const results = new Map<string, WatchResult>();
  const wakes = new Set<() => void>();
  const resultsOf = ({ watched }: WatchRequest) =>
    watched.flatMap(({ runId }) => {
      const result = results.get(runId);
      return result === undefined ? [] : [result];
    });
  const setResult = (id: string, result: WatchResult) => {
    results.set(id, result);
    for (const wake of [...wakes]) wake();
  };
  return {
    setResult,
    end: (id) => setResult(id, { type: "status", run: viewOf(id) }),
    watch: (request, signal) =>
      new Promise((resolve, reject) => {
        const answer = () => {
          const found = resultsOf(request);
          if (found.length > 0) {
            wakes.delete(answer);
            resolve({ results: found });
          }
        };
        wakes.add(answer);
        signal?.addEventListener("abort", () => {
          wakes.delete(answer);
          reject(new Error("aborted"));
        });
        answer();
      }),
  };
}

export function claimedRun(id: string, fields: Partial<ClaimedRun> = {}): ClaimedRun {
  return {
    id,
    name: "order",
    versionId: "1",
    attempt: 1,
    fence: 1,
    createdAt: 1,
    priority: 0,
    tags: [],
    origin: id,
    inbox: 0,
    isCached: false,
    journal: [],
    waits: [],
    lostLeases: 0,
    now: 1,
    ...fields,
  };
}

export function entry(seq: number, address = `step:s${seq}#0`): Entry {
  return { runId: "a", seq, address, attempt: 1, at: 1, fence: 1, value: { type: "returned", output: String(seq) } };
}
