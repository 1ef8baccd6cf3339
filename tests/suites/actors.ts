/** Clients for tests of the Api: a starter and workers that send protocol messages directly. */

import type {
  Api,
  ClaimedRun,
  ClaimRequest,
  Entry,
  LiveWorker,
  NewEntry,
  Next,
  OpenWait,
  Report,
  ReportResult,
  RunSpec,
  RunView,
  Signal,
  SignalResult,
  StartResult,
} from "@aikirun/lib/protocol";
import { v7 } from "uuid";
import { expect } from "vitest";

/** The fields of a heartbeat that describe the worker, without the session. */
export const signed = { worker: "worker-1", serves: [], shardKeys: [], leaseMs: 30_000 };

/** The Api under test. */
export interface Subject {
  api: Api;
  close(): Promise<void>;
}

/** Each test has its own workflow name, so that tests can share a server. */
export class Stage {
  readonly api: Api;
  readonly name: string = `workflow ${v7()}`;

  constructor(api: Api) {
    this.api = api;
  }

  spec(more: Partial<RunSpec> = {}): RunSpec {
    return { id: v7(), name: this.name, versionId: "1.0.0", ...more };
  }

  async start(more: Partial<RunSpec> = {}): Promise<string> {
    const spec = this.spec(more);
    expect(await this.tryStart(spec)).toEqual({ ok: true, id: spec.id, created: true });
    return spec.id;
  }

  async tryStart(spec: RunSpec): Promise<StartResult> {
    return only((await this.api.start({ runs: [spec] })).results);
  }

  async signal(runId: string, signal: Signal, signalId: string = v7()): Promise<SignalResult> {
    return only((await this.api.signal({ signals: [{ signalId, runId, signal }] })).results);
  }

  async view(runId: string): Promise<RunView> {
    return (await this.read(runId)).run;
  }

  async entries(runId: string): Promise<Entry[]> {
    return (await this.read(runId)).entries;
  }

  async read(runId: string): Promise<{ run: RunView; entries: Entry[]; more: boolean }> {
    const result = only((await this.api.read({ runs: [{ runId, entries: { after: 0, limit: 1_000 } }] })).results);
    if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
    return result;
  }

  /** Resolves when the run has this status. Throws if it ends with another one. */
  async reaches(runId: string, status: RunView["status"]): Promise<RunView> {
    const { results } = await this.api.watch({
      watched: [{ type: "status", runId, statuses: [status] }],
      waitMs: 10_000,
    });
    const seen = only(results);
    if (seen.type !== "status") throw new Error(`Watching ${runId} returned ${seen.type}.`);
    expect(seen.run.status).toBe(status);
    return seen.run;
  }

  worker(): WorkerActor {
    return new WorkerActor(this);
  }
}

/** A worker with one session. */
export class WorkerActor {
  readonly session: string = v7();
  readonly stage: Stage;

  constructor(stage: Stage) {
    this.stage = stage;
  }

  request(more: Partial<ClaimRequest> = {}): ClaimRequest {
    return {
      claimId: v7(),
      session: this.session,
      worker: "worker-1",
      serves: [{ name: this.stage.name, versionId: "1.0.0" }],
      shardKeys: [],
      limit: 100,
      leaseMs: 30_000,
      waitMs: 0,
      ...more,
    };
  }

  async claim(more: Partial<ClaimRequest> = {}): Promise<ClaimedRun[]> {
    return (await this.stage.api.claim(this.request(more))).runs;
  }

  /** Waits for one run and claims it. */
  async claimOne(more: Partial<ClaimRequest> = {}): Promise<ClaimedRun> {
    return only(await this.claim({ waitMs: 10_000, limit: 1, ...more }));
  }

  draft(run: ClaimedRun, more: Partial<Report> = {}): Report {
    return {
      reportId: v7(),
      runId: run.id,
      fence: run.fence,
      seen: run.inbox,
      after: run.journal.at(-1)?.seq ?? 0,
      entries: [],
      opens: [],
      starts: [],
      next: { type: "continue" },
      ...more,
    };
  }

  async send(...reports: Report[]): Promise<ReportResult[]> {
    return (await this.stage.api.report({ session: this.session, worker: "worker-1", reports })).results;
  }

  /** Sends one report, which must be accepted. */
  async report(run: ClaimedRun, more: Partial<Report> = {}): Promise<Extract<ReportResult, { ok: true }>> {
    const result = only(await this.send(this.draft(run, more)));
    if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
    return result;
  }

  suspend(
    run: ClaimedRun,
    opens: OpenWait[],
    more: Partial<Report> = {},
  ): Promise<Extract<ReportResult, { ok: true }>> {
    return this.report(run, { opens, next: { type: "suspend", children: 0 }, ...more });
  }

  /** This worker in the list of the Api. Undefined if it is not listed. */
  async listed(stage: Stage = this.stage): Promise<LiveWorker | undefined> {
    const { workers = [] } = await stage.api.read({ runs: [], workers: true });
    return workers.find(({ session }) => session === this.session);
  }

  async leave(): Promise<void> {
    await this.stage.api.renew({ ...signed, session: this.session, runs: [], leaving: true });
  }

  finish(
    run: ClaimedRun,
    outcome: FinishOutcome = { status: "completed" },
  ): Promise<Extract<ReportResult, { ok: true }>> {
    return this.report(run, { next: { type: "finish", outcome } });
  }
}

type FinishOutcome = Extract<Next, { type: "finish" }>["outcome"];

export function returned(address: string, output = '"done"'): NewEntry {
  return { address, value: { type: "returned", output } };
}

export function awaits(name: string, address = `event:${name}#0`, durationMs: number | null = null): OpenWait {
  return { address, type: "event", name, durationMs };
}

export function sleeps(durationMs: number, address = "sleep:#0"): OpenWait {
  return { address, type: "sleep", durationMs };
}

export function only<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined || items.length !== 1) throw new Error(`Expected one item, got ${JSON.stringify(items)}`);
  return item;
}

export function codes(results: ReadonlyArray<{ ok: boolean; code?: string }>): string[] {
  return results.map((result) => (result.ok ? "ok" : (result.code ?? "?")));
}

export function types(entries: readonly Entry[]): string[] {
  return entries.map(({ value }) => (value.type === "marked" ? value.mark : value.type));
}

/** Repeats a request while it fails with `UNAVAILABLE`. */
export async function persistently<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: "UNAVAILABLE" });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Starts runs continuously, three at a time, also while the server fails. */
export interface Load {
  /** The ids of acknowledged runs. */
  readonly acknowledged: readonly string[];
  /** Resolves when no start is in flight. */
  end(): Promise<void>;
}

export function loadOn(stage: Stage): Load {
  const acknowledged: string[] = [];
  let isOver = false;
  const start = async (): Promise<void> => {
    while (!isOver) {
      const spec = stage.spec();
      const result = await persistently(() => stage.tryStart(spec));
      if (result.ok) acknowledged.push(result.id);
    }
  };
  const starts = Promise.all([start(), start(), start()]);
  return {
    acknowledged,
    async end() {
      isOver = true;
      await starts;
    },
  };
}
