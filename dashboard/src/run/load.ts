/** Reads one run and its journal, and reads them again while the run has not ended. */

import type { Entry, RunId, RunView, Why } from "@aikirun/lib/protocol";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { CallError, call } from "../server.ts";

const pageSize = 1_000;
/** How often a run that has not ended is read again. Milliseconds. */
const refreshMs = 1_500;

/** A run with its whole journal. */
export interface LoadedRun {
  run: RunView;
  entries: Entry[];
}

export function useRun(runId: RunId): ReturnType<typeof useQuery<LoadedRun>> {
  const client = useQueryClient();
  const queryKey = ["run", runId];
  return useQuery<LoadedRun>({
    queryKey,
    // Comparing 10,000 entries with themselves after each request would block the page.
    structuralSharing: false,
    // Only entries that are not known yet are read.
    queryFn: ({ signal }) => load(runId, client.getQueryData<LoadedRun>(queryKey)?.entries ?? [], signal),
    refetchInterval: ({ state }) => (state.data?.run.outcome === undefined ? refreshMs : false),
  });
}

/** Without new entries, the result has the same array as before. */
async function load(runId: RunId, known: Entry[], signal: AbortSignal): Promise<LoadedRun> {
  let entries = known;
  for (;;) {
    const after = entries.at(-1)?.seq ?? 0;
    const { results } = await call("read", { runs: [{ runId, entries: { after, limit: pageSize } }] }, signal);
    const [result] = results;
    if (result === undefined) throw new CallError(200, "BAD_REPLY", "The reply of the server has no result.");
    if (!result.ok) throw new CallError(404, result.code, result.message);
    if (result.entries.length > 0) entries = [...entries, ...result.entries];
    if (!result.more) return { run: result.run, entries };
  }
}

export function useWhy(runId: RunId, isLive: boolean): ReturnType<typeof useQuery<Why>> {
  return useQuery<Why>({
    queryKey: ["why", runId],
    queryFn: async ({ signal }) => {
      const { why } = await call("read", { runs: [], why: runId }, signal);
      if (why === undefined) throw new CallError(200, "BAD_REPLY", "The reply of the server has no answer.");
      if (!why.ok) throw new CallError(404, why.code, why.message);
      return why.why;
    },
    refetchInterval: isLive ? refreshMs : false,
  });
}

export function useChildren(runId: RunId, isLive: boolean): ReturnType<typeof useQuery<RunView[]>> {
  return useQuery<RunView[]>({
    queryKey: ["children", runId],
    queryFn: async ({ signal }) => {
      const request = { parentId: runId, order: "oldest", limit: 100 } as const;
      return (await call("find", request, signal)).runs;
    },
    refetchInterval: isLive ? 2 * refreshMs : false,
  });
}
