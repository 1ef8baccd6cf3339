import { isTransient } from "@aikirun/client/internal";
import { AikiError, batcher, type Env } from "@aikirun/lib";
import { type Api, limits, type NewEntry, type Report, type ReportResult } from "@aikirun/lib/protocol";
import { patiently } from "./patience.ts";

/** One report on its way. */
export interface Parcel {
  report: Report;
  /** Whether the run must be presumed lost, or was given up: repeating its report is pointless then. */
  isLost(): boolean;
}

/** Sends reports of all runs of a worker, many in one request. Rejects with `LEASE_LOST` for a lost parcel. */
export type Reporter = (parcel: Parcel) => Promise<ReportResult>;

export interface ReporterOptions {
  api: Api;
  env: Env;
  session: string;
  worker: string;
  /** Requests under way at once: with a server elsewhere, one is carried out there while the next is prepared here. */
  lanes: number;
  /** Aborts when the worker ends. */
  ended: AbortSignal;
}

const maxPauseMs = 1_000;

/**
 * What is reported while a request is under way goes together in the next. A request whose reply was lost is repeated
 * with the same report ids for as long as a lease of its runs may hold.
 */
export function reporter({ api, env, session, worker, lanes, ended }: ReporterOptions): Reporter {
  const deliver = async (parcels: Parcel[]): Promise<Outcome[]> => {
    const live = parcels.filter(({ isLost }) => !isLost());
    const results = live.length === 0 ? [] : await send(live);
    const outcomes = new Map(live.map((parcel, index) => [parcel, results[index]]));
    return parcels.map((parcel) => outcomes.get(parcel) ?? lost);
  };

  const send = async (parcels: Parcel[]): Promise<Outcome[]> => {
    const worthwhile = () => !ended.aborted && parcels.some(({ isLost }) => !isLost());
    const request = { session, worker, reports: parcels.map(({ report }) => report) };
    try {
      const call = () => api.report(request);
      return (await patiently(call, { env, worthwhile, signal: ended, maxPauseMs })).results;
    } catch (error) {
      return isTransient(error) ? parcels.map(() => lost) : divide(parcels, error);
    }
  };

  /** The request as a whole was refused: finds the report that is to blame, so that it alone fails. */
  const divide = async (parcels: Parcel[], error: unknown): Promise<Outcome[]> => {
    if (parcels.length === 1) {
      return [refused(error)];
    }
    const middle = Math.ceil(parcels.length / 2);
    return [...(await send(parcels.slice(0, middle))), ...(await send(parcels.slice(middle)))];
  };

  const post = batcher<Parcel, Outcome>({
    send: deliver,
    max: limits.batchItems,
    lanes,
    // Two turns: those whose answers have just come report in the next, and join.
    soon: (then) => env.soon(() => env.soon(then)),
    weigh: ({ report }) => weightOf(report),
    maxWeight: limits.requestBytes,
  });

  return async (parcel) => {
    const outcome = await post(parcel);
    if (outcome === lost) {
      const { runId } = parcel.report;
      throw new AikiError("LEASE_LOST", "The report could not be delivered while the run was held.", {
        ids: { runId },
      });
    }
    return outcome;
  };
}

const lost = "lost";

type Outcome = ReportResult | typeof lost;

function refused(error: unknown): ReportResult {
  return { ok: false, code: "BAD_REQUEST", message: error instanceof Error ? error.message : String(error) };
}

/** An upper bound of a report's bytes on the wire: a character takes at most 3, and JSON in JSON at most doubles. */
function weightOf({ entries, starts, opens, next }: Report): number {
  let weight = 1_000 + 1_000 * (entries.length + starts.length) + 600 * opens.length;
  for (const { value } of entries) {
    weight += 4 * lengthOf(value);
  }
  for (const { spec } of starts) {
    weight += 4 * (spec.input?.length ?? 0);
  }
  if (next.type === "finish") {
    const { outcome } = next;
    weight += outcome.status === "completed" ? 4 * (outcome.output?.length ?? 0) : limits.failureBytes;
  }
  return weight;
}

function lengthOf(value: NewEntry["value"]): number {
  switch (value.type) {
    case "returned":
      return value.output?.length ?? 0;
    case "observed":
      return value.data.length;
    case "threw":
    case "retrying":
      return limits.failureBytes / 4;
    default:
      return value satisfies never;
  }
}
