/** The run as its handler sees it. */

import { AikiError, type EventDefinitions, type LogFields, type Logger, type TaskContext } from "@aikirun/lib";
import {
  checkName,
  childStarter,
  defaultTaskTimeoutMs,
  Fields,
  performer,
  readRetry,
  type TaskCall,
} from "@aikirun/lib/internal";
import type { StepOptions, WorkflowRun } from "../definition/run.ts";
import type { ExecutableVersion } from "../definition/version.ts";
import { refused } from "./call.ts";
import { startChild } from "./child.ts";
import { type EventWaitOptions, waitForEvent } from "./event.ts";
import { mapItems } from "./map.ts";
import { perform } from "./perform.ts";
import { any, race } from "./race.ts";
import type { Replay } from "./replay.ts";
import { sleepFor, sleepUntil } from "./sleep.ts";
import { uncheckedCast } from "./unchecked-cast.ts";
import { Values } from "./values.ts";

export function runOf(replay: Replay, { name, versionId, events }: ExecutableVersion): WorkflowRun<never> {
  const { run, scheduler } = replay;
  const values = new Values(replay);
  const fields = { workflow: name, versionId, runId: run.id, attempt: run.attempt };
  let logger: Logger | null = null;
  return {
    id: run.id,
    attempt: run.attempt,
    get logger() {
      logger ??= whenLive(scheduler.host.logger.child(fields), () => !scheduler.replaying);
      return logger;
    },
    events: waitersOf(replay, events),
    [performer]: (call) => perform(replay, call),
    [childStarter]: (call) => startChild(replay, call),
    sleep: (...args: unknown[]) => sleepFor(replay, args),
    sleepUntil: (...args: unknown[]) => sleepUntil(replay, args),
    step: (stepName, work, options = {}) => step(replay, stepName, work, options),
    map: (items, work, options) => mapItems(replay, items, work, options),
    race: (contenders) => race(replay, contenders),
    any: (contenders) => any(replay, contenders),
    now: (options) => values.now(options),
    random: (options) => values.random(options),
    uuid: (options) => values.uuid(options),
  };
}

function step<Output>(
  replay: Replay,
  name: string,
  work: (context: TaskContext) => Output | Promise<Output>,
  options: StepOptions,
): Promise<Output> {
  try {
    const where = `step "${checkName(name, "step")}"`;
    if (typeof work !== "function") throw new AikiError("INVALID_CONFIG", `The work of ${where} must be a function.`);
    const fields = new Fields(options, where, "INVALID_CONFIG");
    fields.take("key");
    const { key } = options;
    const signal = fields.signal("signal");
    const call: TaskCall = {
      kind: "step",
      name,
      input: undefined,
      retry: readRetry(fields, options.retry),
      timeoutMs: fields.timeout("timeout") ?? defaultTaskTimeoutMs,
      handler: (_: never, context: TaskContext) => work(context),
      ...(key !== undefined && { key }),
      ...(signal !== undefined && { signal }),
    };
    fields.done();
    return uncheckedCast<Promise<Output>>(perform(replay, call));
  } catch (thrown) {
    return refused(thrown);
  }
}

/** Without a prototype, so that an event may have any name. */
function waitersOf(replay: Replay, events: EventDefinitions): WorkflowRun<never>["events"] {
  const waiters: object = Object.create(null);
  for (const [name, definition] of Object.entries(events)) {
    const wait = (options?: EventWaitOptions): Promise<unknown> => {
      return waitForEvent(replay, name, definition, options);
    };
    Object.defineProperty(waiters, name, { value: { wait }, enumerable: true });
  }
  return uncheckedCast<WorkflowRun<never>["events"]>(Object.freeze(waiters));
}

/** A logger that drops lines while the handler repeats recorded calls. */
function whenLive(logger: Logger, isLive: () => boolean): Logger {
  const line = (level: "debug" | "info" | "warn" | "error") => (message: string, fields?: LogFields) => {
    if (isLive()) logger[level](message, fields);
  };
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    child: (fields) => whenLive(logger.child(fields), isLive),
  };
}
