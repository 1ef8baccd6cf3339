import type { ChildStartOptions } from "@aikirun/lib";
import { Fields, hashPayload, readStart, type VersionReference } from "@aikirun/lib/internal";
import type { Payload, RunSpec } from "@aikirun/lib/protocol";

/** The start of a child as it is sent to the server. Throws `AikiError` `INVALID_OPTION` for invalid options. */
export function childSpec(
  id: string,
  { name, versionId, timeoutMs }: VersionReference,
  input: Payload | undefined,
  options: ChildStartOptions,
): RunSpec {
  const fields = new Fields(options, `options of child "${name}"`, "INVALID_OPTION");
  fields.take("key");
  const onParentEnd = fields.oneOf("onParentEnd", ["cancel", "abandon"]);
  const start = readStart(fields, options.retry);
  fields.done();
  return {
    id,
    name,
    versionId,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...start,
    ...(input !== undefined && { input }),
    ...(start.referenceId !== undefined && { inputHash: hashPayload(input) }),
    ...(onParentEnd !== undefined && { onParentEnd }),
  };
}
