export type { Duration, EventDefinition, EventDefinitions, RetryPolicy, RunHandle, StartOptions } from "@aikirun/lib";
export { ChildRunFailedError, NonRetryableError, TaskFailedError } from "@aikirun/lib";
export { type EventOptions, event } from "./definition/event.ts";
export type {
  ChildCall,
  ChildEnded,
  ChildHandle,
  ChildReached,
  ChildRunner,
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
export type { ExecutableVersion, StartArguments, VersionOptions, WorkflowVersion } from "./definition/version.ts";
export { type Workflow, type WorkflowOptions, workflow } from "./definition/workflow.ts";
export { type Registrable, type Registry, registry } from "./registry/registry.ts";
export type { Draft, Execution, Host, SliceEnd } from "./replay/contract.ts";
export type { EventWaitOptions, EventWaitResult } from "./replay/event.ts";
export { createExecution, type ExecutionOptions } from "./replay/execution.ts";
export { fingerprintOf } from "./replay/fingerprint.ts";
export { type CodeOwner, ownerOfCurrentCode } from "./replay/points.ts";
export type { SleepOptions, SleepResult } from "./replay/sleep.ts";
