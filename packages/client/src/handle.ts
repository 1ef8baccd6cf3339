import {
  AikiError,
  type Duration,
  type Env,
  type EventDefinitions,
  RunCancelledError,
  RunFailedError,
  type RunHandle,
  RunStalledError,
  type WaitForResult,
} from "@aikirun/lib";
import { decode, Fields, present, restoreError } from "@aikirun/lib/internal";
import {
  type Api,
  type RunId,
  type RunStatus,
  type RunView,
  runStatuses,
  type Signal,
  type Why,
} from "@aikirun/lib/protocol";
import { rejected } from "./rejected.ts";
import { sendersOf } from "./senders.ts";
import type { Signals } from "./signals.ts";
import type { Watcher } from "./watcher.ts";

/** The dependencies of a handle. */
export interface HandleContext {
  api: Api;
  env: Env;
  signals: Signals;
  watcher: Watcher;
}

/** The handle of a run. Without `events`, an event of any name can be sent, and its data is not checked. */
export function createHandle<Output, Events extends EventDefinitions>(
  context: HandleContext,
  id: RunId,
  events: Events | null,
): RunHandle<Output, Events> {
  const signal = (signal: Signal) => context.signals(id, signal);
  return {
    id,
    events: sendersOf(events, id, context.signals),
    result: async (options = {}) => {
      const fields = new Fields(options, "options of result", "INVALID_OPTION");
      const leave = fields.signal("signal");
      const until = fields.flag("waitThroughStalls") === true ? [] : stalled;
      fields.done();
      return outputOf(await context.watcher.wait(id, until, leave));
    },
    status: async () => (await read(context.api, id)).status,
    view: () => read(context.api, id),
    why: () => why(context.api, id),
    waitFor: (status, options = {}) => waitFor(context, id, status, options),
    cancel: async (reason) => {
      const fields = new Fields({ reason }, "cancel", "INVALID_OPTION");
      await signal({ type: "cancel", ...present({ reason: fields.prose("reason", 10_000) }) });
    },
    pause: async (reason) => {
      const fields = new Fields({ reason }, "pause", "INVALID_OPTION");
      await signal({ type: "pause", ...present({ reason: fields.prose("reason", 10_000) }) });
    },
    resume: async () => {
      await signal({ type: "resume" });
    },
    wake: async () => {
      await signal({ type: "wake" });
    },
    retry: async () => {
      const runId = await signal({ type: "retry", newRunId: context.env.id() });
      return createHandle<Output, Events>(context, runId, events);
    },
  };
}

/** The statuses in which a run has not ended but does not continue by itself. */
const stalled: readonly RunStatus[] = ["stalled"];

async function read(api: Api, runId: RunId): Promise<RunView> {
  const [result] = (await api.read({ runs: [{ runId }] })).results;
  if (result === undefined) {
    throw new AikiError("BAD_REPLY", "The reply of the server has no result for this run.", { ids: { runId } });
  }
  if (!result.ok) {
    throw rejected(result, { runId });
  }
  return result.run;
}

async function why(api: Api, runId: RunId): Promise<Why> {
  const result = (await api.read({ runs: [], why: runId })).why;
  if (result === undefined) {
    throw new AikiError("BAD_REPLY", "The reply of the server does not say why the run does not move.", {
      ids: { runId },
    });
  }
  if (!result.ok) {
    throw rejected(result, { runId });
  }
  return result.why;
}

function outputOf<Output>({ id, status, outcome, stall, explanation }: RunView): Output {
  if (stall !== undefined) throw new RunStalledError({ runId: id }, stall, explanation);
  switch (outcome?.status) {
    case "completed":
      return trusted(decode(outcome.output));
    case "failed":
      throw new RunFailedError({ runId: id }, restoreError(outcome.error));
    case "cancelled":
      throw new RunCancelledError({ runId: id }, outcome.reason);
    case undefined:
      throw new AikiError("BAD_REPLY", `The server returned run ${id} as ended, but its status is ${status}.`, {
        ids: { runId: id },
      });
    default:
      return outcome satisfies never;
  }
}

/** Casts the output to the type that the version declares. The type is not checked. */
function trusted<Value>(value: unknown): Value {
  return value as Value;
}

async function waitFor(
  { api, env, watcher }: HandleContext,
  runId: RunId,
  status: RunStatus,
  options: { timeout?: Duration; signal?: AbortSignal },
): Promise<WaitForResult> {
  if (!runStatuses.includes(status)) {
    throw new AikiError("INVALID_OPTION", `waitFor(${JSON.stringify(status)}): there is no such status.`, {
      ids: { runId },
    });
  }
  const fields = new Fields(options, "options of waitFor", "INVALID_OPTION");
  const timeoutMs = fields.duration("timeout");
  const signal = fields.signal("signal");
  fields.done();
  const leave = new AbortController();
  const onAbort = () => leave.abort(signal?.reason);
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  let late = false;
  const cancelTimer =
    timeoutMs === undefined
      ? () => {}
      : env.after(timeoutMs, () => {
          late = true;
          leave.abort();
        });
  try {
    const run = await watcher.wait(runId, [status], leave.signal);
    return run.status === status ? { reached: true, status } : { reached: false, reason: "ended", status: run.status };
  } catch (error) {
    if (!late || signal?.aborted === true) {
      throw error;
    }
    return atTimeout(await read(api, runId), status);
  } finally {
    cancelTimer();
    signal?.removeEventListener("abort", onAbort);
  }
}

/** The run may have reached the status between the timeout and this check. */
function atTimeout(run: RunView, wanted: RunStatus): WaitForResult {
  return run.status === wanted
    ? { reached: true, status: run.status }
    : { reached: false, reason: run.outcome === undefined ? "timed_out" : "ended", status: run.status };
}
