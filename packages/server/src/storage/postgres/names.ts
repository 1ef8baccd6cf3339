/**
 * Names of prepared statements, so that PostgreSQL parses and plans each constant statement once for each connection.
 * Not used behind a pooler, where the next transaction may be on a connection without these prepared statements.
 */

import { writings } from "./optimistic-statements.ts";
import * as statements from "./statements.ts";

/** The name of a constant statement; undefined for a statement that depends on the request. */
export type NameOf = (sql: string) => string | undefined;

const { begin: _, commit: __, rollback: ___, ...constant } = statements;

const names: ReadonlyMap<string, string> = new Map(
  [...Object.entries(constant), ...writings].map(([name, statement]) => [statement, `aiki_${name}`]),
);

export const named: NameOf = (sql) => names.get(sql);

export const unnamed: NameOf = () => undefined;
