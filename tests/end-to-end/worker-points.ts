/** The named points of a worker: around every request to the server. */

import type { Api, Rejection, Report } from "@aikirun/lib/protocol";
import type { Reach } from "./fault.ts";

/**
 * `claiming`, `claimed`, `renewing`, `renewed`; `reporting.<kind>` before a report is sent, `reported.<kind>` after its
 * reply has arrived and before the worker handles it.
 */
export function reachingWorkerApi(api: Api, reach: Reach): Api {
  return {
    ...api,
    async claim(request, options) {
      reach("claiming");
      const reply = await api.claim(request, options);
      if (reply.runs.length > 0) reach("claimed");
      return reply;
    },
    async report(request, options) {
      const kinds = new Set(request.reports.flatMap(kindsOf));
      for (const kind of kinds) reach(`reporting.${kind}`);
      const reply = await api.report(request, options);
      for (const kind of kinds) reach(`reported.${kind}`);
      sayRefused(reply.results);
      return reply;
    },
    async renew(request, options) {
      if (request.runs.length > 0) reach("renewing");
      const reply = await api.renew(request, options);
      if (request.runs.length > 0) reach("renewed");
      sayRefused(reply.results);
      return reply;
    },
  };
}

/** Prints rejections, so that the test sees that the server refused the worker, not the worker's own clock. */
function sayRefused(results: Array<{ ok: true } | Rejection>): void {
  for (const result of results) if (!result.ok) console.log(`refused ${result.code}`);
}

/** The kinds of changes in a report. There may be several. */
export function kindsOf({ next, entries, starts }: Report): string[] {
  const kinds: string[] = [];
  if (starts.length > 0) kinds.push("child");
  if (entries.length > 0) kinds.push("record");
  if (next.type !== "continue") kinds.push(next.type);
  return kinds;
}
