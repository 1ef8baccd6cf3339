export {
  type AnyRun,
  type Duration,
  type Logger,
  NonRetryableError,
  type RetryPolicy,
  type Schema,
  type TaskContext,
} from "@aikirun/lib";
export { type Task, type TaskArguments, type TaskOptions, type TaskStartOptions, task } from "./task.ts";
