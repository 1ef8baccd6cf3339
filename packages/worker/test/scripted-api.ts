import { type Api, type RunView, type Verb, verbs, type WatchRequest, type WatchResult } from "@aikirun/lib/protocol";

export interface Call {
  verb: Verb;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into requests of every verb.
  request: any;
  signal: AbortSignal | undefined;
}

export type Script = (call: Call) => unknown;

/** An Api that answers as told and remembers what it was asked. */
export function scriptedApi(script: Script): { api: Api; calls: Call[]; of: (verb: Verb) => Call[] } {
  const calls: Call[] = [];
  const entries = verbs.map((verb) => [
    verb,
    async (request: unknown, options?: { signal?: AbortSignal }) => {
      const call = { verb, request: structuredClone(request), signal: options?.signal };
      calls.push(call);
      return script(call);
    },
  ]);
  return { api: Object.fromEntries(entries), calls, of: (verb) => calls.filter((call) => call.verb === verb) };
}

export function viewOf(id: string, fields: Partial<RunView> = {}): RunView {
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
    dueAt: null,
    explanation: "It has completed.",
    ...(fields.status === undefined || fields.status === "completed"
      ? { outcome: { status: "completed", output: '"done"' } }
      : {}),
    ...fields,
  };
}

/** The part of a server that watches: answers when one of the runs watched is in `ended`. */
export function ending(): { ended: Map<string, WatchResult>; end: (id: string) => void; watch: Script } {
  const ended = new Map<string, WatchResult>();
  const wakes = new Set<() => void>();
  const ready = ({ watched }: WatchRequest) =>
    watched.flatMap(({ runId }) => {
      const result = ended.get(runId);
      return result === undefined ? [] : [result];
    });
  return {
    ended,
    end(id) {
      ended.set(id, { type: "status", run: viewOf(id) });
      for (const wake of [...wakes]) wake();
    },
    watch: ({ request, signal }) =>
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
