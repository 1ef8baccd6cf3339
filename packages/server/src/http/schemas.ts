/** One schema for each message of the protocol. `agreed` below proves that each schema has the type of its message. */

import { farthestMs, isRunIdPrefix, longestMs, mostErrors, runIdForm, storable } from "@aikirun/lib/internal";
import type {
  ClaimRequest,
  Failure,
  FindRequest,
  NewEntry,
  ReadRequest,
  RenewRequest,
  Report,
  ReportRequest,
  RetryPolicy,
  RunSpec,
  SignalItem,
  SignalRequest,
  StartRequest,
  WatchRequest,
} from "@aikirun/lib/protocol";
import { limits, runStatuses } from "@aikirun/lib/protocol";
import { z } from "zod";

/** A text that storage can use as a key. */
const text = (most: number, least = 1) =>
  z.string().min(least).max(most).regex(storable, "Must hold neither NUL nor half of a surrogate pair");

const name = text(limits.nameLength);
const token = text(limits.nameLength);
const address = text(1_024);
const runId = z.string().regex(runIdForm, "Must be a UUID in lower case");
const idPrefix = z.string().refine(isRunIdPrefix, "Must be the beginning of a UUID in lower case");

/** The id of a run to watch. It may have any form: an id that no run can have is answered like one that no run has. */
const watchedId = text(limits.nameLength);

const count = z.int().min(0);
const durationMs = z.int().min(0).max(longestMs);
const at = z.int().min(-farthestMs).max(farthestMs);
const waitMs = z.int().min(0).max(limits.waitMs);
const leaseMs = z.int().min(100).max(86_400_000);

/** The server stores a payload without parsing it. It only checks its size and that a database can store it. */
const payload = z.string().check((context) => {
  const bytes = utf8Bytes(context.value, limits.payloadBytes);
  if (bytes > limits.payloadBytes) {
    context.issues.push({
      code: "custom",
      input: context.value,
      message: `Payload of ${bytes} bytes is over the limit of ${limits.payloadBytes}`,
      params: { limit: true },
    });
  } else if (!storable.test(context.value)) {
    context.issues.push({ code: "custom", input: context.value, message: "Payload must be JSON text" });
  }
});

const failureText = z.string().max(limits.failureBytes);
const failureShape = {
  name: failureText,
  message: failureText,
  code: z.union([failureText, z.number()]).exactOptional(),
  stack: failureText.exactOptional(),
  omittedErrors: count.exactOptional(),
  details: failureText.exactOptional(),
  runId: failureText.exactOptional(),
};
const failureLink: z.ZodType<Failure> = z.strictObject({
  ...failureShape,
  get cause() {
    return failureLink.exactOptional();
  },
  get errors() {
    return z.array(failureLink).max(mostErrors).exactOptional();
  },
});
const failure = failureLink.refine((thrown) => Buffer.byteLength(JSON.stringify(thrown)) <= limits.failureBytes, {
  message: `A failure holds at most ${limits.failureBytes} bytes of JSON, causes and errors included`,
});

const attempts = z.int().min(1);
/** May be a fraction: the server rounds the delay that it computes from the policy. */
const delayMs = z.number().min(0).max(longestMs);
const retry = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("never") }),
  z.strictObject({ type: z.literal("fixed"), maxAttempts: attempts, delayMs }),
  z.strictObject({
    type: z.literal("exponential"),
    maxAttempts: attempts,
    baseDelayMs: delayMs,
    factor: z.number().min(1).max(1_000).exactOptional(),
    maxDelayMs: delayMs.exactOptional(),
  }),
  z.strictObject({
    type: z.literal("jittered"),
    maxAttempts: attempts,
    baseDelayMs: delayMs,
    jitterFactor: z.number().min(0).max(1).exactOptional(),
    maxDelayMs: delayMs.exactOptional(),
  }),
]);

const tags = z.array(name).max(limits.tags);

const runSpecShape = z.strictObject({
  id: runId,
  name,
  versionId: name,
  input: payload.exactOptional(),
  inputHash: token.exactOptional(),
  referenceId: name.exactOptional(),
  onConflict: z.enum(["error", "return_existing"]).exactOptional(),
  delayMs: durationMs.exactOptional(),
  at: at.exactOptional(),
  shardKey: name.exactOptional(),
  priority: z.int().min(-1_000).max(1_000).exactOptional(),
  retry: retry.exactOptional(),
  timeoutMs: durationMs.exactOptional(),
  tags: tags.exactOptional(),
  onParentEnd: z.enum(["cancel", "abandon"]).exactOptional(),
});
const spec = runSpecShape
  .refine((run) => run.at === undefined || run.delayMs === undefined, { message: "Takes delayMs or at, not both" })
  .refine((run) => run.referenceId === undefined || run.inputHash !== undefined, {
    message: "A referenceId needs the inputHash beside it",
  });

const starts = z.strictObject({ runs: z.array(spec).max(limits.batchItems) });

const load = z.strictObject({ slots: count, busy: count });

const build = text(64);

/** The fields about the worker that claims and heartbeats share. */
const workerFields = {
  session: token,
  worker: name,
  serves: z.array(z.strictObject({ name, versionId: name, build: build.exactOptional() })).max(limits.batchItems),
  shardKeys: z.array(name).max(limits.batchItems),
  leaseMs,
  load: load.exactOptional(),
};

const claim = z
  .strictObject({
    ...workerFields,
    claimId: token,
    repeats: z.array(token).max(limits.repeatedClaims).exactOptional(),
    limit: z.int().min(1).max(1_000),
    waitMs,
    reclaim: z
      .array(z.strictObject({ runId, fence: count }))
      .max(limits.batchItems)
      .exactOptional(),
  })
  .refine(({ serves, shardKeys }) => serves.length * Math.max(1, shardKeys.length) <= limits.claimedQueues, {
    message: `Asks for more than ${limits.claimedQueues} queues: versions times shards`,
  });

/** The most entries, waits or children in one report. The engine's limits are lower, and its errors name the limit. */
const callsAtOnce = 50_000;

/** A text by which a worker distinguishes calls. It has no spaces, because storage puts several into one column. */
const mark = z.string().regex(/^[!-~]{1,32}$/, "Must be 1 to 32 printable ASCII characters without spaces");
const callSite = z.strictObject({
  madeAfter: z.int().min(-callsAtOnce),
  identity: mark,
  branch: mark.exactOptional(),
  alike: z.int().min(2).exactOptional(),
});

const entry = z.strictObject({
  address,
  startedAt: at.exactOptional(),
  callSite: callSite.exactOptional(),
  value: z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("returned"), output: payload.exactOptional() }),
    z.strictObject({ type: z.literal("threw"), error: failure }),
    z.strictObject({
      type: z.literal("retrying"),
      error: failure,
      retryInMs: durationMs,
      maxAttempts: z.int().min(1).exactOptional(),
    }),
    z.strictObject({ type: z.literal("observed"), data: payload }),
    z.strictObject({ type: z.literal("asked") }),
    z.strictObject({ type: z.literal("reused"), seq: z.int().min(1) }),
    z.strictObject({ type: z.literal("withdrawn"), wait: callSite.exactOptional() }),
  ]),
});

const open = z.strictObject({
  address,
  type: z.enum(["sleep", "event", "retry", "child"]),
  name: name.exactOptional(),
  durationMs: durationMs.nullable(),
  until: at.exactOptional(),
  callSite: callSite.exactOptional(),
});

/** Where the code makes a call, usually a line of a stack. */
const codePlace = z.string().max(1_000);
const stall = z.discriminatedUnion("reason", [
  z.strictObject({
    reason: z.literal("diverged"),
    call: address,
    unclaimed: z.array(address).max(100_000),
    alsoNew: z.array(address).max(100_000).exactOptional(),
  }),
  z.strictObject({
    reason: z.literal("ambiguous_call"),
    call: address,
    identity: mark,
    places: z.array(codePlace).max(100),
  }),
  z.strictObject({ reason: z.literal("schema_mismatch"), call: address, error: failure }),
  z.strictObject({ reason: z.literal("idle"), idleMs: durationMs }),
]);

const next = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("continue") }),
  z.strictObject({ type: z.literal("suspend"), children: count, mayBeBusyMs: durationMs.exactOptional() }),
  z.strictObject({ type: z.literal("release"), reason: z.enum(["shutdown", "paused", "unserved"]) }),
  z.strictObject({ type: z.literal("stall"), stall }),
  z.strictObject({
    type: z.literal("finish"),
    outcome: z.discriminatedUnion("status", [
      z.strictObject({ status: z.literal("completed"), output: payload.exactOptional() }),
      z.strictObject({ status: z.literal("failed"), error: failure, retryInMs: durationMs.nullable() }),
    ]),
  }),
]);

const oneReport = z.strictObject({
  reportId: token,
  runId,
  fence: count,
  seen: count,
  after: count,
  build: build.exactOptional(),
  expecting: address.exactOptional(),
  entries: z.array(entry).max(callsAtOnce),
  opens: z.array(open).max(callsAtOnce),
  starts: z.array(z.strictObject({ address, callSite: callSite.exactOptional(), spec })).max(callsAtOnce),
  next,
});

const reports = z.strictObject({ session: token, worker: name, reports: z.array(oneReport).max(limits.batchItems) });

const ongoing = z.strictObject({
  task: name,
  address,
  attempt: z.int().min(1),
  maxAttempts: z.int().min(1),
  runningMs: durationMs,
});
const held = z.strictObject({ runId, fence: count, tries: z.array(ongoing).max(10).exactOptional() });
const heartbeat = { ...workerFields, leaving: z.boolean().exactOptional() };
const renew = z.strictObject({ ...heartbeat, runs: z.array(held).max(limits.watchedItems) });

const signal = z.strictObject({
  signalId: token,
  runId,
  by: name.exactOptional(),
  signal: z.discriminatedUnion("type", [
    z.strictObject({
      type: z.literal("event"),
      name,
      data: payload.exactOptional(),
      referenceId: name.exactOptional(),
    }),
    z.strictObject({ type: z.literal("cancel"), reason: z.string().max(10_000).exactOptional() }),
    z.strictObject({ type: z.literal("pause"), reason: z.string().max(10_000).exactOptional() }),
    z.strictObject({ type: z.literal("resume") }),
    z.strictObject({ type: z.literal("wake") }),
    z.strictObject({ type: z.literal("retry"), newRunId: runId }),
  ]),
});
const signals = z.strictObject({ signals: z.array(signal).max(limits.batchItems) });

const status = z.enum(runStatuses);
const watch = z.strictObject({
  watched: z
    .array(
      z.discriminatedUnion("type", [
        z.strictObject({
          type: z.literal("status"),
          runId: watchedId,
          statuses: z.array(status).max(runStatuses.length),
        }),
        z.strictObject({ type: z.literal("changes"), runId: watchedId, fence: count, seen: count, after: count }),
      ]),
    )
    .max(limits.watchedItems),
  waitMs,
});

const find = z.strictObject({
  idPrefix: idPrefix.exactOptional(),
  name: name.exactOptional(),
  versionId: name.exactOptional(),
  status: z.array(status).max(runStatuses.length).exactOptional(),
  referenceId: name.exactOptional(),
  shardKey: name.exactOptional(),
  parentId: runId.exactOptional(),
  tags: tags.exactOptional(),
  errorCode: name.exactOptional(),
  createdAfter: at.exactOptional(),
  createdBefore: at.exactOptional(),
  order: z.enum(["newest", "oldest"]).exactOptional(),
  limit: z.int().min(1).max(200).exactOptional(),
  cursor: text(10_000).exactOptional(),
});

const readOne = z.strictObject({
  runId,
  entries: z.strictObject({ after: count, limit: z.int().min(1).max(10_000) }).exactOptional(),
  waits: z.boolean().exactOptional(),
});
const listing = { workers: z.boolean().exactOptional(), why: watchedId.exactOptional() };
const reads = z.strictObject({ ...listing, runs: z.array(readOne).max(limits.batchItems) });

/** A request whose items are not validated yet. */
export type Loose<Request, Items extends keyof Request> = Omit<Request, Items> & Record<Items, unknown[]>;

const bodies = z.array(z.unknown());
/** A request with an invalid envelope is refused as a whole; the items of a valid one are validated one by one. */
export const looseStart: z.ZodType<Loose<StartRequest, "runs">> = z.strictObject({
  runs: bodies.max(limits.batchItems),
});
export const looseReport: z.ZodType<Loose<ReportRequest, "reports">> = z.strictObject({
  session: token,
  worker: name,
  reports: bodies.max(limits.batchItems),
});
export const looseRenew: z.ZodType<Loose<RenewRequest, "runs">> = z.strictObject({
  ...heartbeat,
  runs: bodies.max(limits.watchedItems),
});
export const looseSignal: z.ZodType<Loose<SignalRequest, "signals">> = z.strictObject({
  signals: bodies.max(limits.batchItems),
});
export const looseRead: z.ZodType<Loose<ReadRequest, "runs">> = z.strictObject({
  ...listing,
  runs: bodies.max(limits.batchItems),
});

export const startRequest: z.ZodType<StartRequest> = starts;
export const claimRequest: z.ZodType<ClaimRequest> = claim;
export const reportRequest: z.ZodType<ReportRequest> = reports;
export const renewRequest: z.ZodType<RenewRequest> = renew;
export const signalRequest: z.ZodType<SignalRequest> = signals;
export const watchRequest: z.ZodType<WatchRequest> = watch;
export const findRequest: z.ZodType<FindRequest> = find;
export const readRequest: z.ZodType<ReadRequest> = reads;

export const runSpec: z.ZodType<RunSpec> = spec;
export const report: z.ZodType<Report> = oneReport;
export const renewItem: z.ZodType<RenewRequest["runs"][number]> = held;
export const signalItem: z.ZodType<SignalItem> = signal;
export const readItem: z.ZodType<ReadRequest["runs"][number]> = readOne;

/** True only if the types are identical, optional fields included. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Fails to compile if a schema and the type of its message differ. */
const agreed: {
  start: Same<z.output<typeof starts>, StartRequest>;
  claim: Same<z.output<typeof claim>, ClaimRequest>;
  report: Same<z.output<typeof reports>, ReportRequest>;
  renew: Same<z.output<typeof renew>, RenewRequest>;
  signal: Same<z.output<typeof signals>, SignalRequest>;
  watch: Same<z.output<typeof watch>, WatchRequest>;
  find: Same<z.output<typeof find>, FindRequest>;
  read: Same<z.output<typeof reads>, ReadRequest>;
  retry: Same<z.output<typeof retry>, RetryPolicy>;
  entry: Same<z.output<typeof entry>, NewEntry>;
  failure: Same<keyof typeof failureShape | "cause" | "errors", keyof Failure>;
} = {
  start: true,
  claim: true,
  report: true,
  renew: true,
  signal: true,
  watch: true,
  find: true,
  read: true,
  retry: true,
  entry: true,
  failure: true,
};
Object.freeze(agreed);

/** The length in bytes; inexact, but not above `limit`, if three bytes for each UTF-16 unit do not exceed `limit`. */
function utf8Bytes(value: string, limit: number): number {
  return value.length * 3 <= limit ? value.length : Buffer.byteLength(value);
}
