import type { Client } from "@aikirun/client";
import { retryWithBackoff } from "@aikirun/client/internal";
import type { AikiError } from "@aikirun/lib";
import type { Address, ClaimedRun, Next, ReportResult, RunId } from "@aikirun/lib/protocol";
import type { ExecutableVersion, Execution, Host, Registry, SliceEnd } from "@aikirun/workflow/internal";
import { type Expectation, expectation } from "./expectation.ts";
import { withJournal } from "./journal.ts";
import { type Instant, type Lease, type Leases, leases } from "./leases.ts";
import { type Hearer, type News, news } from "./news.ts";
import { type ParkedLimits, parked } from "./parked.ts";
import { type Parcel, type Reporter, reporter } from "./reporter.ts";
import { type SliceLog, sliceLog } from "./slice-log.ts";
import { type Slot, type Slots, slots } from "./slots.ts";
import { suspects, type Turn } from "./suspects.ts";
import { Tenure } from "./tenure.ts";

/** Executes the runs that this worker holds. */
export interface Runner {
  /** How many slots are occupied; more than there are after replays that had waited went on. */
  readonly busy: number;
  take(claimed: ClaimedRun, takenAt: Instant): void;
  /** A parked run that was asked for moved on without us. */
  refused(runId: RunId, fence: number): void;
  /** Lets runs under way come to a good point and hands them back; what is taken from now on is handed back at once. */
  drain(): void;
  /** Resolves when no run is left. */
  idle(): Promise<void>;
  /** Gives up on what is still under way and tells the server, so that others go on at once. */
  handBack(): Promise<void>;
  close(): void;
}

export interface RunnerOptions {
  client: Pick<Client, "api" | "env" | "logger" | "url">;
  registry: Registry;
  createExecution: (definition: ExecutableVersion, host: Host) => Execution;
  session: string;
  worker: string;
  slots: number;
  /** How many suspended executions stay in memory. */
  parkedLimits: ParkedLimits;
  leaseMs: number;
  heartbeatIntervalMs: number;
  onFreed: () => void;
  /** A run took its slot back: claims under way may ask for too many. */
  onTakenBack: () => void;
  onReclaim: (runId: RunId, fence: number) => void;
}

/** One claim of one run, from its arrival until the run left this worker's hands. */
interface Slice {
  claimed: ClaimedRun;
  lease: Lease;
  slot: Slot;
  expectation: Expectation;
  /** Of a run that lapsed again: it may bring down its worker. */
  turn: Turn | null;
  tenure: Tenure | null;
  /** Set once the run was lost, or a pause was asked for, before or while it is executed. */
  lost: AikiError["code"] | null;
  isPausing: boolean;
  ended: Promise<void>;
}

export function runner(options: RunnerOptions): Runner {
  const { api, env, logger, url } = options.client;
  const ended = new AbortController();
  const slices = new Map<RunId, Slice>();
  const memory = parked<Tenure>(options.parkedLimits);
  const kept: Leases = leases({ ...options, api, env, logger });
  const heard: News = news(api, env);
  const report: Reporter = reporter({ ...options, api, env, lanes: url === null ? 1 : 2, ended: ended.signal });
  const log: SliceLog = sliceLog(logger);
  const turnOfSuspect = suspects(env, kept.unconfirmedMs / 3);
  const places: Slots = slots({ ...options, count: options.slots });
  let isStopping = false;

  function take(claimed: ClaimedRun, takenAt: Instant): void {
    const before = slices.get(claimed.id);
    const slice: Slice = {
      claimed,
      lease: kept.hold({ runId: claimed.id, fence: claimed.fence, isDormant: isSuspect(claimed) }, takenAt, {
        lost: (code) => overtaken(slice, code),
        pause: () => pause(slice),
      }),
      slot: places.take(),
      expectation: expectation(env, (call, since) => log.waiting(claimed, call, since)),
      turn: isSuspect(claimed) ? turnOfSuspect() : null,
      tenure: null,
      lost: null,
      isPausing: false,
      ended: Promise.resolve(),
    };
    slices.set(claimed.id, slice);
    slice.ended = run(slice, before)
      .catch((error: unknown) => log.crashed(claimed, error))
      .then(() => leave(slice));
  }

  function leave(slice: Slice): void {
    slice.turn?.end();
    slice.lease.end();
    if (slices.get(slice.claimed.id) === slice) {
      slices.delete(slice.claimed.id);
    }
    slice.expectation.end();
    slice.slot.leave();
  }

  async function run(slice: Slice, before: Slice | undefined): Promise<void> {
    const { claimed } = slice;
    log.claimed(claimed);
    if (before !== undefined) {
      await settle(before, claimed);
    }
    const definition = options.registry.find(claimed.name, claimed.versionId);
    if (isStopping || slice.slot.isExcess || definition === undefined) {
      const reason = definition === undefined ? "unserved" : "shutdown";
      memory.drop(claimed.id);
      await release(slice, reason);
      log.released(claimed, reason);
      return;
    }
    const resumed = claimed.hot ? memory.take(claimed.id, claimed.fence, definition) : null;
    memory.drop(claimed.id);
    const whole = await prepare(slice, resumed !== null);
    if (whole === null) {
      resumed?.abandon(slice.lost ?? "LEASE_LOST");
      log.ended(claimed, { type: "lost", code: slice.lost ?? "LEASE_LOST" });
      return;
    }
    const tenure =
      resumed ??
      new Tenure(claimed, definition, tenureOptions(claimed), (host) => options.createExecution(definition, host));
    const end = await execute(slice, tenure, whole, resumed !== null);
    log.ended(claimed, end);
    finish(tenure, end);
  }

  /** The answer to a report and the next claim may overtake one another: the slice before must end first. */
  async function settle(before: Slice, claimed: ClaimedRun): Promise<void> {
    if (!claimed.hot) {
      lose(before, "FENCED");
    }
    await before.ended;
  }

  /** Everything before the handler may move; null when the run was lost meanwhile. */
  async function prepare(slice: Slice, isResumable: boolean): Promise<ClaimedRun | null> {
    const { claimed, lease } = slice;
    await slice.turn?.come;
    // Nothing of a run begins under a lease that may be another's by now.
    if (slice.lost !== null || ((claimed.lapses > 0 || !lease.isProven) && !(await lease.confirm()))) {
      return null;
    }
    const isWorthwhile = () => slice.lost === null && !lease.isLost;
    const retry = { env, isWorthwhile, signals: [ended.signal], maxPauseMs: 1_000 };
    const whole = await retryWithBackoff(() => withJournal(api, claimed, isResumable), retry);
    return slice.lost === null ? whole : null;
  }

  async function execute(slice: Slice, tenure: Tenure, whole: ClaimedRun, isHot: boolean): Promise<SliceEnd> {
    const { lease } = slice;
    tenure.begin(whole.fence, lease, env.elapsed());
    slice.tenure = tenure;
    const end = isHot ? tenure.execution.resume(whole) : tenure.execution.run(whole);
    if (isStopping) {
      tenure.execution.drain("shutdown");
    } else if (slice.isPausing) {
      tenure.execution.drain("paused");
    }
    const hearer = hearerOf(slice, tenure);
    heard.add(hearer);
    try {
      return await end;
    } finally {
      heard.remove(hearer);
    }
  }

  function finish(tenure: Tenure, end: SliceEnd): void {
    if (end.type !== "parked") {
      // A report without an answer may have suspended the run for this worker. Other workers do not replay such a run
      // while this one lives, so this one asks for it.
      if (end.type === "lost" && end.code === "LEASE_LOST" && !isStopping) {
        options.onReclaim(tenure.runId, tenure.fence);
      }
      return;
    }
    if (isStopping) {
      tenure.abandon("SHUTDOWN");
      return;
    }
    tenure.isParked = true;
    memory.put(tenure);
    if (tenure.isStirring) {
      reclaim(tenure);
    }
  }

  /** Asks for the run of an execution that goes on by itself, if no newer one has taken its place. */
  function reclaim(tenure: Tenure): void {
    const { runId, fence } = tenure;
    const claimed = slices.get(runId)?.claimed;
    if (claimed?.hot === true && claimed.fence === fence + 1) {
      // Its run has been claimed already, and the execution is about to go on.
      return;
    }
    const isOver = isStopping || (claimed?.fence ?? 0) > fence;
    if (isOver || !memory.want(tenure)) {
      tenure.abandon("EVICTED");
    } else {
      options.onReclaim(runId, fence);
    }
  }

  function tenureOptions(claimed: ClaimedRun): ConstructorParameters<typeof Tenure>[2] {
    const { id, name, versionId } = claimed;
    return {
      env,
      logger: logger.child({ runId: id, workflow: name, version: versionId }),
      report: isSuspect(claimed) ? reportOfSuspect : report,
      isStopping: () => isStopping,
      onListening: heard.listening,
      onExpecting: expecting,
      onReclaim: (tenure) => {
        if (tenure.isParked) {
          reclaim(tenure);
        }
      },
    };
  }

  /** A replay that waits needs no slot: its run lends it to others. */
  function expecting(tenure: Tenure, call: Address | null): void {
    const slice = slices.get(tenure.runId);
    if (slice?.tenure === tenure) {
      slice.expectation.set(call);
      slice.slot.idle(call !== null);
    }
  }

  /** What has reported is no suspect any more. */
  async function reportOfSuspect(parcel: Parcel): Promise<ReportResult> {
    const result = await report(parcel);
    slices.get(parcel.report.runId)?.turn?.end();
    return result;
  }

  function hearerOf(slice: Slice, tenure: Tenure): Hearer {
    return {
      runId: tenure.runId,
      fence: tenure.fence,
      heldAt: tenure.heldAt,
      get position() {
        return tenure.position;
      },
      get isListening() {
        return tenure.isListening;
      },
      hear: (entries, inbox) => tenure.execution.news(entries, inbox),
      pause: () => pause(slice),
      lost: (code) => overtaken(slice, code),
    };
  }

  /** The server no longer counts the run as ours. If we are just handing it over, that is why. */
  function overtaken(slice: Slice, code: AikiError["code"]): void {
    if (slice.tenure?.isHandingOver !== true) {
      lose(slice, code);
    }
  }

  function lose(slice: Slice, code: AikiError["code"]): void {
    slice.lost ??= code;
    slice.lease.end();
    slice.tenure?.abandon(code);
  }

  function pause(slice: Slice): void {
    slice.isPausing = true;
    slice.tenure?.execution.drain("paused");
  }

  /** Hands back a run that was never executed. */
  async function release(
    { claimed, lease }: Slice,
    reason: Extract<Next, { type: "release" }>["reason"],
  ): Promise<void> {
    const { id, fence, inbox, journal } = claimed;
    const next = { type: "release" as const, reason };
    const after = journal.at(-1)?.seq ?? 0;
    const handed = { reportId: reason, runId: id, fence, seen: inbox, after, entries: [], opens: [], starts: [], next };
    await report({ report: handed, isLost: () => lease.isLost }).catch(() => {});
  }

  function drain(): void {
    isStopping = true;
    memory.clear();
    for (const { tenure } of slices.values()) {
      tenure?.execution.drain("shutdown");
    }
  }

  return {
    get busy() {
      return places.busy;
    },
    take,
    refused(runId, fence) {
      if (memory.peek(runId, fence) !== null) {
        memory.drop(runId);
      }
    },
    drain,
    idle: places.empty,
    async handBack() {
      await Promise.all(
        [...slices.values()].map(async (slice) => {
          slice.lost ??= "SHUTDOWN";
          await (slice.tenure === null ? release(slice, "shutdown") : slice.tenure.giveBack("SHUTDOWN"));
        }),
      );
    },
    close() {
      isStopping = true;
      ended.abort();
      kept.close();
      heard.close();
      for (const slice of slices.values()) {
        lose(slice, "SHUTDOWN");
      }
    },
  };
}

/** The first lease that lapsed may have had any cause; a run that lapses again is executed apart from others. */
function isSuspect({ lapses }: ClaimedRun): boolean {
  return lapses > 1;
}
