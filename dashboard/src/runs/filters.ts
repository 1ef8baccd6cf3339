/** The filters of the list, as the URL has them. */

import { type FindRequest, type RunStatus, runStatuses } from "@aikirun/lib/protocol";

/** The names of the filters that are texts, with their labels. */
export const textFilters = [
  ["name", "Workflow"],
  ["versionId", "Version"],
  ["tag", "Tag"],
  ["referenceId", "Reference"],
  ["shardKey", "Shard"],
  ["errorCode", "Error code"],
  ["idPrefix", "Run id"],
] as const;

/** The request for the runs that the URL asks for. Texts that are no time or no status are left out. */
export function requestOf(params: URLSearchParams): FindRequest {
  const text = (name: string): string | undefined => params.get(name) || undefined;
  const request: FindRequest = {};
  const status = statusesOf(params);
  if (status.length > 0) request.status = status;
  const { idPrefix, name, versionId, referenceId, shardKey, errorCode, parentId } = {
    idPrefix: text("idPrefix")?.toLowerCase(),
    name: text("name"),
    versionId: text("versionId"),
    referenceId: text("referenceId"),
    shardKey: text("shardKey"),
    errorCode: text("errorCode"),
    parentId: text("parentId"),
  };
  if (idPrefix !== undefined) request.idPrefix = idPrefix;
  if (name !== undefined) request.name = name;
  if (versionId !== undefined) request.versionId = versionId;
  if (referenceId !== undefined) request.referenceId = referenceId;
  if (shardKey !== undefined) request.shardKey = shardKey;
  if (errorCode !== undefined) request.errorCode = errorCode;
  if (parentId !== undefined) request.parentId = parentId;
  const tag = text("tag");
  if (tag !== undefined) request.tags = partsOf(tag);
  const after = timeOf(params.get("from"));
  if (after !== null) request.createdAfter = after;
  const before = timeOf(params.get("to"));
  if (before !== null) request.createdBefore = before;
  if (params.get("order") === "oldest") request.order = "oldest";
  return request;
}

function partsOf(list: string): string[] {
  return list
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "");
}

export function statusesOf(params: URLSearchParams): RunStatus[] {
  const named = (params.get("status") ?? "").split(",");
  return runStatuses.filter((status) => named.includes(status));
}

/** A time in the URL is written in UTC: `2026-01-31T12:00:00.000Z`. Null if it is none. */
export function timeOf(text: string | null): number | null {
  if (text === null || text === "") return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/** Whether the URL filters the list at all. */
export function isFiltered(params: URLSearchParams): boolean {
  const { order: _, ...filters } = requestOf(params);
  return Object.keys(filters).length > 0;
}
