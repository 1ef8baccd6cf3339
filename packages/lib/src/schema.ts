import { AikiError } from "./error.ts";

/**
 * The part of Standard Schema v1 that Aiki uses (https://standardschema.dev): zod, valibot and arktype schemas all
 * fit.
 */
export interface Schema<Input = unknown, Output = Input> {
  /** What the standard prescribes: its version, who made the schema, and how it checks a value. */
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** The parsed value, or why there is none. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<SchemaIssue> };

/** One reason why a value does not fit, and where in it. */
export interface SchemaIssue {
  /** What does not fit. */
  readonly message: string;
  /** Where in the value, from the outside in. Absent: the value itself. */
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

/**
 * The value as the schema gives it back (defaults filled in, coerced). `where` names the value in errors.
 * Throws `AikiError` `SCHEMA_MISMATCH` with the paths of what does not fit, and `INVALID_SCHEMA` when it is no Standard
 * Schema or fails by itself. Neither is retryable.
 */
export async function parseWith(schema: Schema, value: unknown, where: string): Promise<unknown> {
  const result = await validate(schema, value, where);
  if (result.issues === undefined) return result.value;
  const shown = result.issues.slice(0, shownIssues).map((issue) => `${where}${path(issue)}: ${issue.message}`);
  const more = result.issues.length > shownIssues ? `; and ${result.issues.length - shownIssues} more` : "";
  throw new AikiError("SCHEMA_MISMATCH", `${where} does not fit its schema. ${shown.join("; ")}${more}`);
}

const shownIssues = 5;

/** The schema itself, once it is known to be one; `where` names what it checks. Throws `AikiError` `INVALID_SCHEMA`. */
export function checkSchema(schema: unknown, where: string): Schema {
  if (isSchema(schema)) return schema;
  const advice = 'use one of zod, valibot, arktype, or anything with a "~standard" property';
  throw new AikiError("INVALID_SCHEMA", `The schema of ${where} is not a Standard Schema; ${advice}.`);
}

/** Schemas of some libraries are functions. */
function isSchema(value: unknown): value is Schema {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  const standard: unknown = Reflect.get(value, "~standard");
  return typeof standard === "object" && standard !== null && typeof Reflect.get(standard, "validate") === "function";
}

async function validate(schema: Schema, value: unknown, where: string): Promise<SchemaResult<unknown>> {
  const standard = checkSchema(schema, where)["~standard"];
  try {
    return await standard.validate(value);
  } catch (cause) {
    throw new AikiError("INVALID_SCHEMA", `The schema of ${where} threw instead of reporting issues.`, { cause });
  }
}

function path(issue: SchemaIssue): string {
  return (issue.path ?? [])
    .map((segment) => (typeof segment === "object" ? segment.key : segment))
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("");
}
