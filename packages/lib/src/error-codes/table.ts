/** Every error code of Aiki: the type of `AikiError.code`, `retryable` and docs/errors.md follow from this table. */

import { commandCodes, databaseCodes } from "./operations.ts";
import { requestCodes, valueCodes } from "./requests.ts";
import { abortCodes, callerCodes, handlerCodes } from "./runs.ts";

/** What the table says about one code. */
export interface ErrorCodeEntry {
  /** Whether the same call may succeed later, by itself or after the cause was removed. */
  readonly retryable: boolean;
  /** What happened. Markdown. */
  readonly meaning: string;
  /** What to do about it. Markdown. */
  readonly remedy: string;
}

/** A code of this version of Aiki, for example `"RUN_NOT_FOUND"`; `errorCodes` explains each. */
export type ErrorCode =
  | keyof typeof handlerCodes
  | keyof typeof callerCodes
  | keyof typeof valueCodes
  | keyof typeof requestCodes
  | keyof typeof abortCodes
  | keyof typeof databaseCodes
  | keyof typeof commandCodes;

/** Every code of this version of Aiki: whether it is retryable, what it means and what to do. */
export const errorCodes: Readonly<Record<ErrorCode, ErrorCodeEntry>> = {
  ...handlerCodes,
  ...callerCodes,
  ...valueCodes,
  ...requestCodes,
  ...abortCodes,
  ...databaseCodes,
  ...commandCodes,
};

/** Whether this version of Aiki has the code. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}
