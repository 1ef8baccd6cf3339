/** Readers of options that several functions accept. */

import type { StartOptions } from "./contract.ts";
import { Fields, isRecord } from "./fields.ts";
import { limits } from "./protocol/api.ts";
import type { RetryPolicy, RunSpec } from "./protocol/run.ts";
import { checkRetryPolicy } from "./retry.ts";
import { checkSchema, type Schema } from "./schema.ts";

/**
 * The options of a task or a workflow, ready to be read; errors name it (`task "charge-card"`).
 * Throws `AikiError` `INVALID_CONFIG`.
 */
export function definitionFields(definition: unknown, kind: string): Fields {
  const name = isRecord(definition) && typeof definition.name === "string" ? ` ${JSON.stringify(definition.name)}` : "";
  return new Fields(definition, `${kind}${name}`, "INVALID_CONFIG");
}

/** The field `retry`; `never` when it is absent. Throws `AikiError` `INVALID_RETRY_POLICY`. */
export function readRetry(fields: Fields, policy: RetryPolicy | undefined): RetryPolicy {
  fields.take("retry");
  return policy === undefined ? { type: "never" } : checkRetryPolicy(policy, fields.where);
}

/** The field `schema` of a definition. Throws `AikiError` `INVALID_SCHEMA` for what is no Standard Schema. */
export function readSchemas(fields: Fields): { inputSchema?: Schema; outputSchema?: Schema } {
  if (!fields.has("schema")) return {};
  const given = new Fields(fields.take("schema"), `${fields.where}.schema`, "INVALID_CONFIG");
  const input = given.take("input");
  const output = given.take("output");
  given.done();
  return {
    ...(input !== undefined && { inputSchema: checkSchema(input, `input of ${fields.where}`) }),
    ...(output !== undefined && { outputSchema: checkSchema(output, `output of ${fields.where}`) }),
  };
}

/** The options common to the start of a run and of a child, as they are sent. Absent fields stay absent. */
export function readStart(
  fields: Fields,
  policy: StartOptions["retry"],
): Omit<RunSpec, "id" | "name" | "versionId" | "input" | "inputHash" | "onConflict" | "onParentEnd"> {
  if (fields.has("delay") && fields.has("at")) fields.refuse("at", "left out when delay is set");
  fields.take("retry");
  return present({
    referenceId: fields.text("referenceId"),
    delayMs: fields.delay("delay"),
    at: fields.moment("at"),
    shardKey: fields.text("shardKey"),
    priority: fields.integer("priority", { min: -1_000, max: 1_000 }),
    retry: policy === undefined ? undefined : checkRetryPolicy(policy, `${fields.where}.retry`),
    timeoutMs: fields.timeout("timeout"),
    tags: fields.texts("tags", limits.tags),
  });
}

type Present<Options> = { [Name in keyof Options]?: Exclude<Options[Name], undefined> };

/** A copy without undefined fields. */
export function present<Options extends object>(options: Options): Present<Options> {
  const kept: Present<Options> = {};
  for (const name in options) {
    const value = options[name];
    if (isPresent(value)) kept[name] = value;
  }
  return kept;
}

function isPresent<Value>(value: Value): value is Exclude<Value, undefined> {
  return value !== undefined;
}
