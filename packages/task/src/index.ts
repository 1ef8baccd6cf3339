export {
  type Duration,
  defaultTaskTimeoutMs,
  type Logger,
  NonRetryableError,
  type RetryPolicy,
  type Schema,
  type TaskContext,
  type TaskRunner,
} from "@aikirun/lib";
export { type Task, type TaskArguments, type TaskOptions, type TaskStartOptions, task } from "./task.ts";
