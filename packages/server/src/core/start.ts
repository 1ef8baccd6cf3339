/** The three ways to start a run: by a caller, by a parent, and as the retry of an ended run. */

import type { Address, RunId, RunSpec } from "@aikirun/lib/protocol";
import { dueOf } from "./draft.ts";
import type { DecisionContext, Payload, Run, RunOptions, State } from "./run.ts";

export function openRun(namespace: string, spec: RunSpec, moment: DecisionContext): Run {
  const at = spec.at ?? (spec.delayMs === undefined ? null : moment.latest + spec.delayMs);
  const { now, latest, settings } = moment;
  const isLater = at !== null && at > now;
  const state: State = isLater
    ? { status: "scheduled", at }
    : { status: "queued", resumable: null, redeliveries: 0, redeliverAt: now + settings.redeliverMs };
  const run: Run = {
    id: spec.id,
    namespace,
    name: spec.name,
    versionId: spec.versionId,
    shardKey: spec.shardKey ?? null,
    priority: spec.priority ?? 0,
    input: spec.input ?? null,
    options: optionsOf(spec),
    referenceId: spec.referenceId ?? null,
    parent: null,
    createdAt: now,
    updatedAt: now,
    state,
    since: now,
    waits: [],
    events: new Map(),
    timeoutAt: isLater || spec.timeoutMs === undefined ? null : latest + spec.timeoutMs,
    dueAt: null,
    revision: 0,
    fence: 0,
    inbox: 0,
    attempt: 1,
    build: null,
    crashes: 0,
    lostLeases: 0,
    children: 0,
    reported: null,
    lastError: null,
    tail: 0,
  };
  run.dueAt = dueOf(run, now);
  return run;
}

/** Inherits the parent's shard and priority. */
export function openChild(parent: Run, address: Address, spec: RunSpec, moment: DecisionContext): Run {
  const { namespace, shardKey, priority } = parent;
  const run = openRun(namespace, { ...(shardKey === null ? {} : { shardKey }), priority, ...spec }, moment);
  run.parent = { id: parent.id, address };
  return run;
}

/** A new run that retries an ended one. It reuses the recorded entries, so its events keep their numbers. */
export function retryOf(ended: Run, id: RunId, input: Payload | null, moment: DecisionContext): Run {
  const { name, versionId, shardKey, priority, options } = ended;
  const shard = shardKey === null ? {} : { shardKey };
  const run = openRun(ended.namespace, { id, name, versionId, priority, ...shard }, moment);
  run.input = input;
  run.options = { ...options, retryOf: ended.id, origin: options.origin ?? ended.id };
  run.events = new Map(ended.events);
  run.timeoutAt = options.timeoutMs === undefined ? null : moment.latest + options.timeoutMs;
  run.dueAt = dueOf(run, moment.now);
  return run;
}

/** Whether a start repeats the one that made this run. An input that was not loaded counts as different. */
export function isSameStart(run: Run, spec: RunSpec): boolean {
  return (
    run.name === spec.name &&
    run.versionId === spec.versionId &&
    run.input === (spec.input ?? null) &&
    run.referenceId === (spec.referenceId ?? null)
  );
}

function optionsOf(spec: RunSpec): RunOptions {
  const { inputHash, retry, timeoutMs, tags, onParentEnd } = spec;
  return {
    ...(inputHash === undefined ? {} : { inputHash }),
    ...(retry === undefined ? {} : { retry }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(tags === undefined ? {} : { tags }),
    ...(onParentEnd === "abandon" ? { onParentEnd } : {}),
  };
}
