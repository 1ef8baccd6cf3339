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
  WatchReply,
  WatchRequest,
} from "./messages.ts";

/** How a call is made: `signal` gives up waiting; what was claimed for a caller that has gone is released. */
export interface CallOptions {
  /** Gives up waiting for the reply: the call rejects with `ABORTED`. Default: the call waits. */
  signal?: AbortSignal;
}

/** What each verb of the wire takes and answers. */
interface Messages {
  /** Creates runs. */
  start: { request: StartRequest; reply: StartReply };
  /** Takes ready runs for a worker; waits for one up to `waitMs`. */
  claim: { request: ClaimRequest; reply: ClaimReply };
  /** Records what a worker did, and how its runs go on. */
  report: { request: ReportRequest; reply: ReportReply };
  /** Renews the leases of a worker. */
  renew: { request: RenewRequest; reply: RenewReply };
  /** Sends events and commands to runs. */
  signal: { request: SignalRequest; reply: SignalReply };
  /** Waits up to `waitMs` for changes of runs. */
  watch: { request: WatchRequest; reply: WatchReply };
  /** Lists runs. */
  find: { request: FindRequest; reply: FindReply };
  /** Reads runs by id, their entries and the live workers. */
  read: { request: ReadRequest; reply: ReadReply };
}

/** A verb of the wire. */
export type Verb = keyof Messages;

/** What a verb takes. */
export type RequestOf<V extends Verb> = Messages[V]["request"];
/** What a verb answers. */
export type ReplyOf<V extends Verb> = Messages[V]["reply"];
/** The function that calls one verb. */
export type VerbCall<V extends Verb> = (request: RequestOf<V>, options?: CallOptions) => Promise<ReplyOf<V>>;

/**
 * The wire: eight batch verbs, each a POST to `/v1/<verb>` or a plain call in-process, with the same types.
 * One bad item is answered by a rejection and never fails its batch. A call throws `AikiError` only for faults of the
 * whole request: `UNREACHABLE`, `UNAVAILABLE`, `UNAUTHORIZED`, `FORBIDDEN`, `BAD_REQUEST`, `ABORTED`.
 * Every mutation is safe to repeat after a lost reply.
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

/** Limits that both ends know. Bytes are UTF-8. */
export const limits = {
  payloadBytes: 2_000_000,
  requestBytes: 8_000_000,
  journalPageBytes: 4_000_000,
  /** No further item is added to a reply that holds so many bytes, counted before JSON escapes anything. */
  replyBytes: 8_000_000,
  batchItems: 1_000,
  watchedItems: 10_000,
  /** Versions times shards that one claim may ask for. */
  claimedQueues: 10_000,
  /** Lost claims that one claim may name. */
  repeatedClaims: 20,
  openWaits: 10_000,
  nameLength: 255,
  tags: 32,
  failureBytes: 65_536,
  waitMs: 60_000,
} as const;
