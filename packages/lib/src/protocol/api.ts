import type { FindReply, FindRequest, ReadReply, ReadRequest } from "./lookup.ts";
import type {
  ClaimReply,
  ClaimRequest,
  RenewReply,
  RenewRequest,
  ReportReply,
  ReportRequest,
  SignalReply,
  SignalRequest,
  StartReply,
  StartRequest,
} from "./messages.ts";
import type { WatchReply, WatchRequest } from "./watch.ts";

/** Options of a call. If the caller disconnects, the server releases the runs that it had claimed for the caller. */
export interface CallOptions {
  /** An abort signal that ends the wait for the reply: the call rejects with `ABORTED`. Default: the call waits. */
  signal?: AbortSignal;
}

/** The request and the reply of each verb of the protocol. */
interface Messages {
  /** Creates runs. */
  start: { request: StartRequest; reply: StartReply };
  /** Takes ready runs for a worker; waits for one up to `waitMs`. */
  claim: { request: ClaimRequest; reply: ClaimReply };
  /** Records what a worker did, and how its runs continue. */
  report: { request: ReportRequest; reply: ReportReply };
  /** Renews the leases of a worker. */
  renew: { request: RenewRequest; reply: RenewReply };
  /** Sends signals to runs: events, `cancel`, `pause`, `resume`, `wake` and `retry`. */
  signal: { request: SignalRequest; reply: SignalReply };
  /** Waits up to `waitMs` for changes of runs. */
  watch: { request: WatchRequest; reply: WatchReply };
  /** Lists runs. */
  find: { request: FindRequest; reply: FindReply };
  /** Reads runs by id, their entries and the live workers. */
  read: { request: ReadRequest; reply: ReadReply };
}

/** A verb of the protocol. */
export type Verb = keyof Messages;

/** The request of a verb. */
export type RequestOf<V extends Verb> = Messages[V]["request"];
/** The reply of a verb. */
export type ReplyOf<V extends Verb> = Messages[V]["reply"];
/** The function that calls one verb. */
export type VerbCall<V extends Verb> = (request: RequestOf<V>, options?: CallOptions) => Promise<ReplyOf<V>>;

/**
 * The protocol: eight batch verbs. Each is a POST to `/v1/<verb>`, or a function call in-process with the same types.
 * A bad item is answered with a rejection, and the rest of its batch is executed. A call throws `AikiError` only if the
 * whole request fails: `UNREACHABLE`, `UNAVAILABLE`, `UNAUTHORIZED`, `FORBIDDEN`, `BAD_REQUEST`, `ABORTED`.
 * If the reply is lost, it is safe to send any request again.
 */
export type Api = { [V in Verb]: VerbCall<V> };

/** An `Api` that calls each verb with the function that `callOf` returns for it. */
export function apiFrom(callOf: <V extends Verb>(verb: V) => VerbCall<V>): Api {
  return {
    start: callOf("start"),
    claim: callOf("claim"),
    report: callOf("report"),
    renew: callOf("renew"),
    signal: callOf("signal"),
    watch: callOf("watch"),
    find: callOf("find"),
    read: callOf("read"),
  };
}

/** The same `Api` with every verb wrapped: `wrap` gets the verb and its call, and returns the call to use instead. */
export function wrapApi(api: Api, wrap: <V extends Verb>(verb: V, call: VerbCall<V>) => VerbCall<V>): Api {
  return apiFrom((verb) => wrap(verb, (request, options) => api[verb](request, options)));
}

/** The names of all verbs: the last part of their paths. */
export const verbs: readonly Verb[] = ["start", "claim", "report", "renew", "signal", "watch", "find", "read"];

/** Limits that clients, workers and servers share. Sizes in bytes are of UTF-8 text. */
export const limits = {
  payloadBytes: 2_000_000,
  requestBytes: 8_000_000,
  journalPageBytes: 4_000_000,
  /** If a reply has this many bytes, the server adds no further item. Bytes that JSON escapes add are not counted. */
  replyBytes: 8_000_000,
  batchItems: 1_000,
  watchedItems: 10_000,
  /** The maximum of versions times shards of one claim. */
  claimedQueues: 10_000,
  /** The maximum number of earlier claims that one claim may name in `repeats`. */
  repeatedClaims: 20,
  openWaits: 10_000,
  nameLength: 255,
  tags: 32,
  failureBytes: 65_536,
  waitMs: 60_000,
} as const;
