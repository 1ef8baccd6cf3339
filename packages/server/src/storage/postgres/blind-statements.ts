/**
 * Statements for transactions in one journey. What the other way would be told and would roll back for, these make an
 * error of: a key that is taken, or a division by zero, ends the transaction.
 */

import { slackMs } from "./clock.ts";
import { holdRun } from "./statements.ts";
import { insertGivenEntries, insertGivenRuns, lockAndChange } from "./writes.ts";

/** Of a batch whose first parameter is an array, as many must be answered as were given. */
const all = "1 / (count(*) = cardinality($1::text[]))::integer AS whole";

export const insertAllRuns: string = insertGivenRuns;

export const insertAllEntries: string = insertGivenEntries;

export const holdAllRuns: string = `
  WITH held AS (${holdRun})
  SELECT ${all} FROM held`;

export const changeAllRuns: string = `${lockAndChange}
  SELECT ${all} FROM held`;

/** Answers the database's time, by which that of the batch must be right. */
export const openAt: string = `
  SELECT
    set_config('statement_timeout', '10s', true),
    set_config('lock_timeout', '1500ms', true),
    set_config('idle_in_transaction_session_timeout', '10s', true),
    now,
    1 / (now - $1 BETWEEN 0 AND ${slackMs})::integer AS timely
  FROM (SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now) AS clock`;
