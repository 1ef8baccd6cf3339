import type { EventDefinition, EventDefinitions, RunHandle } from "@aikirun/lib";
import { Fields, isRunIdPrefix, present, runIdForm } from "@aikirun/lib/internal";
import {
  type Api,
  type FindRequest,
  limits,
  type RunId,
  type RunStatus,
  type RunView,
  runStatuses,
} from "@aikirun/lib/protocol";
import { createHandle, type HandleContext } from "./handle.ts";

/** Which runs to list; all conditions must hold. */
export interface RunFilter {
  /** The beginning of the run's id, in lower case: `01890a5d-ac9`. Default: any. */
  idPrefix?: string;
  /** The workflow's name. Default: any. */
  name?: string;
  /** The id of the workflow version. Default: any. */
  versionId?: string;
  /** The status of the run, or several allowed statuses. Default: any. */
  status?: RunStatus | readonly RunStatus[];
  /** The reference id that the run was started with. Default: any. */
  referenceId?: string;
  /** The shard key that the run was started with. Default: any. */
  shardKey?: string;
  /** Only children of this run. Default: children and others. */
  parentId?: RunId;
  /** Runs that have all of these tags. Default: any tags. */
  tags?: readonly string[];
  /** Runs that failed with an error of this code; write a numeric code as its digits. Default: any run. */
  errorCode?: string;
  /** The earliest creation time, inclusive. Epoch milliseconds when a number. Default: no limit. */
  createdAfter?: Date | number;
  /** The latest creation time, exclusive. Epoch milliseconds when a number. Default: no limit. */
  createdBefore?: Date | number;
  /** The order by creation time. Default: `newest` first. */
  order?: "newest" | "oldest";
  /** Runs per page, 1 to 200. Default 50. */
  limit?: number;
  /** The `cursor` of the page before. Default: the first page. */
  cursor?: string;
}

/**
 * One page of runs, without their inputs and outputs. The server examines a bounded number of runs for a page. If few
 * runs match, a page may be short or empty and still have a `cursor`.
 */
export interface RunPage {
  /** The runs in the order of the filter. */
  runs: RunView[];
  /** Pass it as `cursor` for the next page; absent on the last one. */
  cursor?: string;
}

/** Await it for one page, or iterate over it for all runs, page after page. */
export interface RunList extends PromiseLike<RunPage>, AsyncIterable<RunView> {}

/** The part of a workflow version that types the handle of its runs. */
export interface VersionOf<Output, Events extends EventDefinitions> {
  /** The events that the version declares, by name. */
  readonly events: EventDefinitions;
  /** Declares the type of a run's output; never called. */
  readonly start: (...args: never[]) => Promise<RunHandle<Output, Events>>;
}

/** The events of a run whose version is unknown: any name, any data. */
export type AnyEvents = Readonly<Record<string, EventDefinition<unknown>>>;

/** Finds runs. */
export interface Runs {
  /** Returns a handle without a request. If the run does not exist, the handle's calls reject. */
  get(id: RunId): RunHandle<unknown, AnyEvents>;
  /** The same; the version types the output and the events. */
  get<Output, Events extends EventDefinitions>(
    id: RunId,
    version: VersionOf<Output, Events>,
  ): RunHandle<Output, Events>;
  /** Lists the runs that match, newest first. Throws `INVALID_OPTION` for an invalid filter. */
  list(filter?: RunFilter): RunList;
}

export function createRuns(context: HandleContext): Runs {
  function get(id: RunId): RunHandle<unknown, AnyEvents>;
  function get<Output, Events extends EventDefinitions>(
    id: RunId,
    version: VersionOf<Output, Events>,
  ): RunHandle<Output, Events>;
  function get(id: RunId, version?: { readonly events: EventDefinitions }): RunHandle<unknown, EventDefinitions> {
    return createHandle(context, id, version?.events ?? null);
  }
  return { get, list: (filter = {}) => list(context.api, requestOf(filter)) };
}

function list(api: Api, request: FindRequest): RunList {
  return {
    // biome-ignore lint/suspicious/noThenProperty: awaiting the list gives its first page.
    then: (onPage, onError) => api.find(request).then(onPage, onError),
    async *[Symbol.asyncIterator]() {
      let cursor = request.cursor;
      do {
        const page: RunPage = await api.find(cursor === undefined ? request : { ...request, cursor });
        yield* page.runs;
        cursor = page.cursor;
      } while (cursor !== undefined);
    },
  };
}

function requestOf(filter: RunFilter): FindRequest {
  const fields = new Fields(filter, "filter", "INVALID_OPTION");
  const status = fields.has("status") && !Array.isArray(filter.status) ? oneStatus(fields) : statuses(fields);
  const request = {
    idPrefix: fields.shaped("idPrefix", isIdPrefix, "the beginning of a run's id, a UUID in lower case"),
    name: fields.text("name"),
    versionId: fields.text("versionId"),
    status,
    referenceId: fields.text("referenceId"),
    shardKey: fields.text("shardKey"),
    parentId: fields.shaped("parentId", isRunId, "the id of a run, a UUID in lower case"),
    tags: fields.texts("tags", limits.tags),
    errorCode: fields.text("errorCode"),
    createdAfter: fields.moment("createdAfter"),
    createdBefore: fields.moment("createdBefore"),
    order: fields.oneOf("order", ["newest", "oldest"]),
    limit: fields.integer("limit", { min: 1, max: 200 }),
    cursor: fields.text("cursor", { min: 1, max: 10_000 }),
  };
  fields.done();
  return present(request);
}

function isRunId(value: unknown): value is RunId {
  return typeof value === "string" && runIdForm.test(value);
}

function isIdPrefix(value: unknown): value is string {
  return typeof value === "string" && isRunIdPrefix(value);
}

function oneStatus(fields: Fields): RunStatus[] | undefined {
  const status = fields.oneOf("status", runStatuses);
  return status === undefined ? undefined : [status];
}

function statuses(fields: Fields): RunStatus[] | undefined {
  return fields
    .texts("status", runStatuses.length)
    ?.map((name) => runStatuses.find((status) => status === name) ?? fields.refuse("status", "statuses of runs"));
}
