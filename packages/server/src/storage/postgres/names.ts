/**
 * Names under which connections keep constant statements, so that PostgreSQL parses and plans each of them once. Only
 * on connections of our own: behind a pooler the next transaction may be on another one, which knows no name of ours.
 */

import { writings } from "./optimistic-statements.ts";
import * as statements from "./statements.ts";

/** The name of a constant statement; undefined for one that is made for its request. */
export type NameOf = (sql: string) => string | undefined;

const { begin: _, commit: __, rollback: ___, ...constant } = statements;

const names: ReadonlyMap<string, string> = new Map(
  [...Object.entries(constant), ...writings].map(([name, statement]) => [statement, `aiki_${name}`]),
);

export const named: NameOf = (sql) => names.get(sql);

export const unnamed: NameOf = () => undefined;
