export type {
  AnyClient,
  AnyRun,
  ChildStartOptions,
  EventContent,
  EventDefinition,
  EventDefinitions,
  EventSender,
  ResultOptions,
  RunHandle,
  SendOptions,
  StartOptions,
  TaskContext,
  WaitForResult,
} from "./contract.ts";
export type { Duration } from "./duration.ts";
export type { Cancel, Env } from "./env.ts";
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
  TaskFailedError,
  TaskTimeoutError,
  type UnknownErrorCode,
} from "./error.ts";
export { type ErrorCode, type ErrorCodeEntry, errorCodes, isErrorCode } from "./error-codes/table.ts";
export {
  type ConsoleLoggerOptions,
  consoleLogger,
  type LogFields,
  type Logger,
  type LogLevel,
  silentLogger,
} from "./log.ts";
export type { MetricCounter, MetricHistogram, MetricLabels, MetricOptions, Metrics } from "./metrics.ts";
export type { RetryPolicy } from "./protocol/run.ts";
export type { Schema, SchemaIssue, SchemaResult } from "./schema.ts";
