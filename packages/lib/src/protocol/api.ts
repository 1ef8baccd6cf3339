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

/**
 * The wire: eight batch verbs, each a POST to `/v1/<verb>` or a plain call in-process, with the same types.
 * One bad item is answered by a rejection and never fails its batch. A call throws `AikiError` only for faults of the
 * whole request: `UNREACHABLE`, `UNAVAILABLE`, `UNAUTHORIZED`, `FORBIDDEN`, `BAD_REQUEST`, `ABORTED`.
 * Every mutation is safe to repeat after a lost reply.
 */
export interface Api {
  /** Creates runs. */
  start(request: StartRequest, options?: CallOptions): Promise<StartReply>;
  /** Takes ready runs for a worker; waits for one up to `waitMs`. */
  claim(request: ClaimRequest, options?: CallOptions): Promise<ClaimReply>;
  /** Records what a worker did, and how its runs go on. */
  report(request: ReportRequest, options?: CallOptions): Promise<ReportReply>;
  /** Renews the leases of a worker. */
  renew(request: RenewRequest, options?: CallOptions): Promise<RenewReply>;
  /** Sends events and commands to runs. */
  signal(request: SignalRequest, options?: CallOptions): Promise<SignalReply>;
  /** Waits up to `waitMs` for changes of runs. */
  watch(request: WatchRequest, options?: CallOptions): Promise<WatchReply>;
  /** Lists runs. */
  find(request: FindRequest, options?: CallOptions): Promise<FindReply>;
  /** Reads runs by id, their entries and the live workers. */
  read(request: ReadRequest, options?: CallOptions): Promise<ReadReply>;
}

/** A verb of the wire. */
export type Verb = keyof Api;

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
