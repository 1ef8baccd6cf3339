import { errorCodes } from "@aikirun/lib";
import type { SchemaState } from "../storage/schema-state.ts";
import { type Finding, findingsOf } from "./finding.ts";

const { ok, warning, error } = findingsOf("database");

/** What to think of the schema of a database. */
export function schemaFinding(schema: SchemaState): Finding {
  if (schema.type === "refused") return error(schema.message, errorCodes[schema.code].remedy);
  const { applied, known } = schema;
  if (applied === known) return ok(`Its schema is up to date (migration ${known}).`);
  const remedy = "Run aiki migrate, or start a server of this version: it migrates the schema.";
  return applied === 0
    ? warning("It has no schema of Aiki yet.", remedy)
    : warning(`Its schema is at migration ${applied}, and this version of Aiki has ${known}.`, remedy);
}
