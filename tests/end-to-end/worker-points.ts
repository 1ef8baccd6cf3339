/** The named points of a worker, reached from outside: around every call it makes of the server. */

import type { Api, Report } from "@aikirun/lib/protocol";
import type { Reach } from "./fault.ts";

/**
 * `claiming`, `claimed`, `renewing`, `renewed`; `reporting.<kind>` before a report is sent and `reported.<kind>` once its
 * answer is here but the worker knows nothing of it.
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
      return reply;
    },
    async renew(request, options) {
      if (request.runs.length > 0) reach("renewing");
      const reply = await api.renew(request, options);
      if (request.runs.length > 0) reach("renewed");
      return reply;
    },
  };
}

/** What a report does: several things at once, sometimes. */
export function kindsOf({ next, entries, starts }: Report): string[] {
  const kinds: string[] = [];
  if (starts.length > 0) kinds.push("child");
  if (entries.length > 0) kinds.push("record");
  if (next.type !== "continue") kinds.push(next.type);
  return kinds;
}
