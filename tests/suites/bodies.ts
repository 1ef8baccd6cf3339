/** One valid request for each verb, which tests modify. */

import type { Api, RunId, Signal, Verb } from "@aikirun/lib/protocol";
import { v7 } from "uuid";
import { signed } from "./actors.ts";

export type RequestBodies = { readonly [V in Verb]: Parameters<Api[V]>[0] };

/** The run and the session of a request. */
export interface About {
  runId: RunId;
  session: string;
  claimId: string;
  fence: number;
}

export function bodiesAbout({ runId, session, claimId, fence }: About): RequestBodies {
  const name = `body ${runId}`;
  return {
    start: { runs: [{ id: runId, name, versionId: "1.0.0", input: '{"a":1}', tags: ["t"], priority: 1 }] },
    claim: {
      claimId,
      session,
      worker: "w",
      serves: [{ name, versionId: "1.0.0" }],
      shardKeys: [],
      limit: 1,
      leaseMs: 30_000,
      waitMs: 0,
      reclaim: [{ runId, fence }],
    },
    report: {
      session,
      worker: "w",
      reports: [
        {
          reportId: v7(),
          runId,
          fence,
          seen: 0,
          after: 0,
          build: "build-1",
          expecting: "task:u#0",
          entries: [
            { address: "task:t#0", callSite, value: { type: "returned", output: "1" } },
            { address: "task:u#0", callSite: { ...callSite, madeAfter: -1 }, value: { type: "reused", seq: 1 } },
            { address: "child:c#0/wait#0/ask", value: { type: "asked" } },
            { address: "sleep:s#0/withdrawn", value: { type: "withdrawn" } },
          ],
          opens: [{ address: "event:e#0", type: "event", name: "e", durationMs: 60_000, callSite }],
          starts: [],
          next: { type: "suspend", children: 0 },
        },
      ],
    },
    renew: { ...signed, session, runs: [{ runId, fence }] },
    signal: { signals: signals.map((signal) => ({ signalId: v7(), runId, signal })) },
    watch: {
      watched: [
        { type: "status", runId, statuses: ["queued", "running"] },
        { type: "changes", runId, fence, seen: 0, after: 0 },
      ],
      waitMs: 0,
    },
    find: { idPrefix: runId.slice(0, 9), parentId: runId, errorCode: "E", limit: 10, cursor: cursorAfter(runId) },
    read: { runs: [{ runId, entries: { after: 0, limit: 10 } }] },
  };
}

function cursorAfter(runId: RunId): string {
  return Buffer.from(`0 ${runId}`).toString("base64url");
}

const callSite = { madeAfter: 0, identity: "i", branch: "b" };

const signals: readonly Signal[] = [
  { type: "event", name: "e", data: "1", referenceId: "r" },
  { type: "pause" },
  { type: "resume" },
  { type: "wake" },
  { type: "cancel", reason: "no" },
  { type: "retry", newRunId: v7() },
];
