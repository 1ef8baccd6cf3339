export type {
  AnyClient,
  AnyRun,
  ChildStartOptions,
  Duration,
  EventDefinition,
  EventDefinitions,
  RetryPolicy,
  RunHandle,
  StartOptions,
} from "@aikirun/lib";
export { ChildRunFailedError, NonRetryableError, TaskFailedError } from "@aikirun/lib";
export { type EventOptions, event } from "./definition/event.ts";
export type {
  ChildEnded,
  ChildHandle,
  ChildReached,
  ChildTimedOut,
  ChildWaitOptions,
  Contender,
  EventWaiter,
  KeyOptions,
  MapOptions,
  StepOptions,
  Winner,
  WorkflowRun,
} from "./definition/run.ts";
export type { StartArguments, VersionOptions, WorkflowVersion } from "./definition/version.ts";
export { type Workflow, type WorkflowOptions, workflow } from "./definition/workflow.ts";
export type { EventWaitOptions, EventWaitResult } from "./replay/event.ts";
export type { SleepOptions, SleepResult } from "./replay/sleep.ts";
