import {
  batcher,
  checkRetryPolicy,
  type Duration,
  type Env,
  encode,
  Fields,
  hashPayload,
  isRecord,
  parseWith,
  type StartOptions,
  toMs,
  type VersionReference,
} from "@aikirun/lib";
import { type Api, limits, type RunId, type RunSpec, type StartResult } from "@aikirun/lib/protocol";
import { rejected } from "./rejected.ts";

export type Starts = (version: VersionReference, input: unknown, options: StartOptions) => Promise<RunId>;

/** Starts runs; all that are asked for while a request is under way go together in the next. */
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
  if (fields.has("delay") && fields.has("at")) {
    fields.refuse("at", "absent beside delay");
  }
  const spec = {
    referenceId: fields.text("referenceId"),
    onConflict: fields.oneOf("onConflict", ["error", "return_existing"]),
    delayMs: millisecondsOf(fields.shaped("delay", isDuration, "a duration such as { minutes: 5 }"), "delay"),
    at: momentOf(fields, "at"),
    shardKey: fields.text("shardKey"),
    priority: fields.integer("priority", { min: -1_000, max: 1_000 }),
    retry: options.retry === undefined ? undefined : checkRetryPolicy(options.retry, "start options.retry"),
    timeoutMs: millisecondsOf(fields.shaped("timeout", isDuration, "a duration such as { hours: 1 }"), "timeout"),
    tags: fields.texts("tags", limits.tags),
  };
  fields.take("retry");
  fields.done();
  return present(spec);
}

/** A date as epoch milliseconds. */
export function momentOf(fields: Fields, name: string): number | undefined {
  const value = fields.take(name);
  if (value === undefined) {
    return undefined;
  }
  const at = value instanceof Date ? value.getTime() : value;
  return typeof at === "number" && Number.isFinite(at) && at >= 0
    ? Math.round(at)
    : fields.refuse(name, "a valid Date or epoch milliseconds");
}

function millisecondsOf(duration: Duration | undefined, what: string): number | undefined {
  return duration === undefined ? undefined : toMs(duration, what);
}

function isDuration(value: unknown): value is Duration {
  return isRecord(value);
}

type Present<Options> = { [Name in keyof Options]?: Exclude<Options[Name], undefined> };

/** The same without what is undefined. */
export function present<Options extends object>(options: Options): Present<Options> {
  const kept: Present<Options> = {};
  for (const name in options) {
    const value = options[name];
    if (isPresent(value)) {
      kept[name] = value;
    }
  }
  return kept;
}

function isPresent<Value>(value: Value): value is Exclude<Value, undefined> {
  return value !== undefined;
}

/** An upper bound of a spec's bytes: JSON in JSON at most doubles, and a character takes at most 3. */
function weigh(spec: RunSpec): number {
  return 1_000 + 4 * (spec.input?.length ?? 0);
}
