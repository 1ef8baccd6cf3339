import {
  AikiError,
  type ChildStartOptions,
  checkRetryPolicy,
  hashPayload,
  toMs,
  type VersionReference,
} from "@aikirun/lib";
import { limits, type Payload, type RunSpec } from "@aikirun/lib/protocol";

const highestPriority = 1_000;

const known = new Set([
  "referenceId",
  "delay",
  "at",
  "shardKey",
  "priority",
  "retry",
  "timeout",
  "tags",
  "onParentEnd",
]);

/** The start of a child as it travels. Throws `AikiError` `INVALID_OPTION` for options that no start can have. */
export function childSpec(
  id: string,
  version: VersionReference,
  input: Payload | undefined,
  options: ChildStartOptions,
): RunSpec {
  const { name, versionId } = version;
  checkOptions(options, name);
  const { referenceId, shardKey, priority, retry, tags, onParentEnd } = options;
  const timeoutMs = options.timeout === undefined ? version.timeoutMs : toMs(options.timeout, "timeout of a child");
  return {
    id,
    name,
    versionId,
    ...(input !== undefined && { input }),
    ...(referenceId !== undefined && { referenceId, inputHash: hashPayload(input) }),
    ...(options.delay !== undefined && { delayMs: toMs(options.delay, "delay of a child") }),
    ...(options.at !== undefined && { at: Math.round(Number(options.at)) }),
    ...(shardKey !== undefined && { shardKey }),
    ...(priority !== undefined && { priority }),
    ...(retry !== undefined && { retry: checkRetryPolicy(retry, `child "${name}"`) }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(tags !== undefined && { tags: [...tags] }),
    ...(onParentEnd !== undefined && { onParentEnd }),
  };
}

function checkOptions(options: ChildStartOptions, name: string): void {
  const { referenceId, shardKey, priority, tags, at, delay, onParentEnd } = options;
  const refuse = (problem: string): never => {
    throw new AikiError("INVALID_OPTION", `The options of child "${name}" ${problem}.`);
  };
  for (const field of Object.keys(options)) {
    if (!known.has(field)) refuse(`have an unknown field ${JSON.stringify(field)}; use ${[...known].join(", ")}`);
  }
  if (!isText(referenceId)) refuse(`need a referenceId of ${shape}`);
  if (!isText(shardKey)) refuse(`need a shardKey of ${shape}`);
  if (priority !== undefined && (!Number.isInteger(priority) || Math.abs(priority) > highestPriority)) {
    refuse(`need a whole priority from -${highestPriority} to ${highestPriority}`);
  }
  if (tags !== undefined && (!Array.isArray(tags) || tags.length > limits.tags || !tags.every(isText))) {
    refuse(`need at most ${limits.tags} tags of ${shape}`);
  }
  if (at !== undefined && delay !== undefined) refuse("have both at and delay; give one");
  if (at !== undefined && !Number.isFinite(Number(at))) refuse("need a valid Date or epoch milliseconds for at");
  if (onParentEnd !== undefined && onParentEnd !== "cancel" && onParentEnd !== "abandon") {
    refuse('need "cancel" or "abandon" for onParentEnd');
  }
}

const shape = `1 to ${limits.nameLength} characters`;

function isText(value: unknown): boolean {
  return value === undefined || (typeof value === "string" && value.length > 0 && value.length <= limits.nameLength);
}
