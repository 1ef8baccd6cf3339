import { type ErrorCode, isAikiError, isErrorCode } from "@aikirun/lib";

/** How the schema of a database relates to the migrations of this version. */
export type SchemaState =
  /** `applied` of `known` migrations are applied; the rest is applied by `aiki migrate`, or by the next server. */
  | { type: "known"; applied: number; known: number }
  /** The schema cannot be used by this version. */
  | { type: "refused"; code: ErrorCode; message: string };

/** The errors by which a database is refused because of its schema. */
const refusals: readonly string[] = ["DATABASE_FOREIGN", "SCHEMA_TOO_NEW", "SCHEMA_DRIFT"];

/** The result of `read`; its refusal of the schema becomes a value. */
export async function schemaOf(read: () => Promise<SchemaState> | SchemaState): Promise<SchemaState> {
  try {
    return await read();
  } catch (thrown) {
    if (!isAikiError(thrown) || !refusals.includes(thrown.code) || !isErrorCode(thrown.code)) throw thrown;
    return { type: "refused", code: thrown.code, message: thrown.message };
  }
}
