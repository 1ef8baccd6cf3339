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
  asked: { readonly [V in Verb]: Array<ScriptedCall<RequestOf<V>>> };
}

/** An Api that answers as told and remembers what it was asked. */
export function scriptedApi(script: Script): ScriptedApi {
  const asked: ScriptedApi["asked"] = {
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
    return answer(asked[verb], request, options?.signal, script[verb]);
  });
  return { api, asked };
}

/** A long poll that nothing ends but its caller. */
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
  end(id: string): void;
  say(id: string, result: WatchResult): void;
  watch(request: WatchRequest, signal: AbortSignal | undefined): Promise<WatchReply>;
}

/** The part of a server that watches: answers when there is something to say of one of the runs. */
export function ending(): ScriptedWatch {
  const said = new Map<string, WatchResult>();
  const wakes = new Set<() => void>();
  const ready = ({ watched }: WatchRequest) =>
    watched.flatMap(({ runId }) => {
      const result = said.get(runId);
      return result === undefined ? [] : [result];
    });
  const say = (id: string, result: WatchResult) => {
    said.set(id, result);
    for (const wake of [...wakes]) wake();
  };
  return {
    say,
    end: (id) => say(id, { type: "status", run: viewOf(id) }),
    watch: (request, signal) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const results = ready(request);
          if (results.length > 0) {
            wakes.delete(look);
            resolve({ results });
          }
        };
        wakes.add(look);
        signal?.addEventListener("abort", () => {
          wakes.delete(look);
          reject(new Error("aborted"));
        });
        look();
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
