export {
  addressOf,
  arrivalAddress,
  askAddress,
  awaitedResult,
  childWaitAddress,
  resultAddress,
  retryAddress,
  signalAddress,
  tryAddress,
  withdrawnAddress,
  withdrawnWait,
} from "./address.ts";
export { type BatchOptions, batcher } from "./batch.ts";
export {
  type ChildStartOptions,
  defaultTaskTimeoutMs,
  type EventContent,
  type EventDefinition,
  type EventDefinitions,
  type EventSender,
  performer,
  type ResultOptions,
  type RunHandle,
  type RunStarter,
  type SendOptions,
  type StartOptions,
  starter,
  type TaskCall,
  type TaskContext,
  type TaskRunner,
  type VersionReference,
  type WaitForResult,
} from "./contract.ts";
export { type Duration, longestMs, signedMs, toMs } from "./duration.ts";
export { type Cancel, type Env, systemEnv } from "./env.ts";
export {
  AikiError,
  type AikiErrorOptions,
  ChildRunFailedError,
  isAikiError,
  isRetryable,
  NonRetryableError,
  RunCancelledError,
  RunFailedError,
  RunStalledError,
  receivedCode,
  TaskFailedError,
  TaskTimeoutError,
  type UnknownErrorCode,
} from "./error.ts";
export { type ErrorCode, type ErrorCodeEntry, errorCodes } from "./error-codes/table.ts";
export { describeError, restoreError } from "./failure.ts";
export { type Bounds, Fields, hasMethods, isRecord } from "./fields.ts";
export { hashPayload, sha256 } from "./hash.ts";
export { childRunId, derivedRandom, derivedUuid } from "./id.ts";
export { decode, encode } from "./json.ts";
export {
  type ConsoleLoggerOptions,
  consoleLogger,
  droppedLines,
  type LogFields,
  type Logger,
  type LogLevel,
  silentLogger,
} from "./log.ts";
export { logOutput } from "./log-output.ts";
export { logValue } from "./log-value.ts";
export { checkName } from "./name.ts";
export { definitionFields, present, readRetry, readSchemas, readStart } from "./options.ts";
export type { RetryPolicy } from "./protocol/run.ts";
export { relationTo } from "./relation.ts";
export { checkRetryPolicy, retryDelayMs } from "./retry.ts";
export { farthestMs, mostErrors, runIdForm, storable } from "./rules.ts";
export { checkSchema, parseWith, type Schema, type SchemaIssue, type SchemaResult } from "./schema.ts";
export { parseServiceUrl, redactUrl, type UrlRules } from "./url.ts";
