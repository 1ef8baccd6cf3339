import { isTransient, retryWithBackoff } from "@aikirun/client/internal";
import { AikiError, type Env, isAikiError } from "@aikirun/lib";
import { batcher, describeError } from "@aikirun/lib/internal";
import { type Api, limits, type NewEntry, type Rejection, type Report, type ReportResult } from "@aikirun/lib/protocol";
import { withAllEntries } from "./journal.ts";

/** A report to be sent. */
export interface OutgoingReport {
  report: Report;
  /** Whether the worker no longer holds the run, so that its report is not repeated. */
  isLost(): boolean;
}

export interface ReporterOptions {
  api: Api;
  env: Env;
  session: string;
  worker: string;
  /** The number of concurrent requests: a remote server can process one while the worker prepares the next. */
  lanes: number;
  /** Aborts when the worker ends. */
  ended: AbortSignal;
}

const maxPauseMs = 1_000;

/**
 * Sends reports of all runs of a worker, many in one request. Reports that arrive while a request is in progress are
 * sent together in the next one. A request without a reply is repeated with the same report ids while the worker may
 * still hold one of its runs.
 */
export class Reporter {
  readonly #options: ReporterOptions;
  readonly #post: (outgoing: OutgoingReport) => Promise<ReportOutcome>;

  constructor(options: ReporterOptions) {
    const { env, lanes } = options;
    this.#options = options;
    this.#post = batcher<OutgoingReport, ReportOutcome>({
      send: (batch) => this.#sendHeld(batch),
      max: limits.batchItems,
      lanes,
      // Waits two turns of the event loop: runs that have just received an answer report in the first one.
      soon: (then) => env.soon(() => env.soon(then)),
      weigh: ({ report }) => weightOf(report),
      maxWeight: limits.requestBytes,
    });
  }

  /**
   * Resolves with the server's answer; a permanent refusal is also an answer, so that the run can fail with its reason.
   * Rejects when the report is abandoned: with `LEASE_LOST` when the worker no longer holds the run, or with the code
   * of a fault that is not caused by the report, for example `UNAUTHORIZED`.
   */
  async report(outgoing: OutgoingReport): Promise<ReportResult> {
    const outcome = await this.#post(outgoing);
    const completed = isCut(outcome) ? await this.#complete(outgoing, outcome.result) : outcome;
    if ("result" in completed) return completed.result;
    throw abandoned(outgoing, completed.fault);
  }

  async #sendHeld(batch: OutgoingReport[]): Promise<ReportOutcome[]> {
    const held = batch.filter(({ isLost }) => !isLost());
    const outcomes = held.length === 0 ? [] : await this.#send(held);
    const byReport = new Map(held.map((outgoing, index) => [outgoing, outcomes[index]]));
    return batch.map((outgoing) => byReport.get(outgoing) ?? { fault: null });
  }

  async #send(batch: OutgoingReport[]): Promise<ReportOutcome[]> {
    const { api, session, worker } = this.#options;
    const request = { session, worker, reports: batch.map(({ report }) => report) };
    try {
      const { results } = await this.#retry(batch, () => api.report(request));
      return results.map((result) => ({ result }));
    } catch (error) {
      const outcome = outcomeOf(error);
      const isForOne = "result" in outcome || !isAikiError(error);
      return isForOne && batch.length > 1 ? this.#divide(batch) : batch.map(() => outcome);
    }
  }

  /** The whole request was refused: finds the report that caused it, so that only this report is refused. */
  async #divide(batch: OutgoingReport[]): Promise<ReportOutcome[]> {
    const middle = Math.ceil(batch.length / 2);
    return [...(await this.#send(batch.slice(0, middle))), ...(await this.#send(batch.slice(middle)))];
  }

  /** Reads the entries that did not fit into the reply. A report that ends its attempt needs none. */
  async #complete(outgoing: OutgoingReport, result: ReportResult): Promise<ReportOutcome> {
    const { report } = outgoing;
    if (report.next.type === "finish") return { result };
    const read: Api["read"] = (request) => this.#retry([outgoing], () => this.#options.api.read(request));
    try {
      return { result: await withAllEntries({ read }, report, result) };
    } catch (error) {
      return { fault: faultOf(error) };
    }
  }

  /** Repeats the call after transient faults, while the worker still holds one of the runs. */
  #retry<Reply>(batch: OutgoingReport[], call: () => Promise<Reply>): Promise<Reply> {
    const { env, ended } = this.#options;
    const isWorthwhile = () => !ended.aborted && batch.some(({ isLost }) => !isLost());
    return retryWithBackoff(call, { env, isWorthwhile, signals: [ended], maxPauseMs });
  }
}

/** The server's answer, or the fault for which the run is abandoned; null when the run was already lost. */
type ReportOutcome = { result: ReportResult } | { fault: AikiError | null };

function isCut(outcome: ReportOutcome): outcome is { result: ReportResult } {
  return "result" in outcome && outcome.result.ok && outcome.result.entriesCutAt !== undefined;
}

function abandoned({ report: { runId } }: OutgoingReport, fault: AikiError | null): AikiError {
  const ids = { runId };
  const isOver = fault === null || isTransient(fault);
  const message = isOver ? "The report could not be delivered while the worker held the run." : fault.message;
  return new AikiError(isOver ? "LEASE_LOST" : fault.code, message, { ids, ...(fault !== null && { cause: fault }) });
}

/**
 * The codes with which a server refuses a request because of a report in it, and the codes that this report then
 * receives. A repeat would be refused too. Other faults may end: the server is unreachable, the key was revoked, or
 * another program answers at the server's address.
 */
const permanent: ReadonlyMap<string, Rejection["code"]> = new Map([
  ["BAD_REQUEST", "BAD_REQUEST"],
  ["LIMIT_EXCEEDED", "LIMIT_EXCEEDED"],
  ["PAYLOAD_TOO_LARGE", "LIMIT_EXCEEDED"],
]);

function faultOf(error: unknown): AikiError {
  return isAikiError(error) ? error : new AikiError("INTERNAL", describeError(error).message, { cause: error });
}

function outcomeOf(error: unknown): ReportOutcome {
  const fault = faultOf(error);
  const code = isTransient(fault) ? undefined : permanent.get(fault.code);
  return code === undefined ? { fault } : { result: { ok: false, code, message: fault.message } };
}

/** An upper bound of a report's bytes in a request: a character takes at most 3 bytes, and escaping at most doubles. */
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
    case "asked":
    case "reused":
    case "withdrawn":
      return 0;
    default:
      return value satisfies never;
  }
}
