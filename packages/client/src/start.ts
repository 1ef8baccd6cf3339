import type { Env, StartOptions } from "@aikirun/lib";
import {
  batcher,
  encode,
  Fields,
  hashPayload,
  parseWith,
  readStart,
  type VersionReference,
} from "@aikirun/lib/internal";
import { type Api, limits, type RunId, type RunSpec, type StartResult } from "@aikirun/lib/protocol";
import { rejected } from "./rejected.ts";

export type Starts = (version: VersionReference, input: unknown, options: StartOptions) => Promise<RunId>;

/** Starts runs. Starts made while a request is in progress go together in the next one. */
export function starts(api: Api, env: Env): Starts {
  const start = batcher<RunSpec, StartResult>({
    send: async (runs) => (await api.start({ runs })).results,
    max: limits.batchItems,
    weigh,
    maxWeight: limits.requestBytes,
  });
  return async (version, input, options) => {
    const spec = await specOf(version, input, options, env);
    const result = await start(spec);
    if (!result.ok) {
      throw rejected(result, { runId: spec.id, workflow: spec.name });
    }
    return result.id;
  };
}

async function specOf(version: VersionReference, input: unknown, options: StartOptions, env: Env): Promise<RunSpec> {
  const where = `input of ${version.name}@${version.versionId}`;
  if (version.inputSchema !== undefined) {
    await parseWith(version.inputSchema, input, where);
  }
  const payload = encode(input, where);
  const spec: RunSpec = { id: env.id(), name: version.name, versionId: version.versionId, ...specOptions(options) };
  if (payload !== undefined) {
    spec.input = payload;
  }
  if (spec.referenceId !== undefined) {
    spec.inputHash = hashPayload(payload);
  }
  if (spec.timeoutMs === undefined && version.timeoutMs !== undefined) {
    spec.timeoutMs = version.timeoutMs;
  }
  return spec;
}

function specOptions(options: StartOptions): Omit<RunSpec, "id" | "name" | "versionId"> {
  const fields = new Fields(options, "start options", "INVALID_OPTION");
  const onConflict = fields.oneOf("onConflict", ["error", "return_existing"]);
  const spec = { ...readStart(fields, options.retry), ...(onConflict === undefined ? {} : { onConflict }) };
  fields.done();
  return spec;
}

/** An upper bound of a spec's bytes: escaping at most doubles the text, and a character takes at most 3 bytes. */
function weigh(spec: RunSpec): number {
  return 1_000 + 4 * (spec.input?.length ?? 0);
}
