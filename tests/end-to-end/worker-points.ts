/** The named points of a worker, reached from outside: around every call it makes of the server. */

import type { Api, Rejection, Report } from "@aikirun/lib/protocol";
import type { Reach } from "./fault.ts";

/**
 * `claiming`, `claimed`, `renewing`, `renewed`; `reporting.<kind>` before a report is sent, `reported.<kind>` once its
 * answer is here but the worker does not know.
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

/** For the test to see that a ghost was turned away by the server, not by its own clock. */
function sayRefused(results: Array<{ ok: true } | Rejection>): void {
  for (const result of results) if (!result.ok) console.log(`refused ${result.code}`);
}

/** What a report does: several things at once, sometimes. */
export function kindsOf({ next, entries, starts }: Report): string[] {
  const kinds: string[] = [];
  if (starts.length > 0) kinds.push("child");
  if (entries.length > 0) kinds.push("record");
  if (next.type !== "continue") kinds.push(next.type);
  return kinds;
}
