import type { Env } from "@aikirun/lib";
import type { Entry, FindRequest, RunId } from "@aikirun/lib/protocol";
import type { EntryKey } from "../../core/entry-keys.ts";
import type { Outline, Run, WholeRun } from "../../core/run.ts";
import { type Payloads, wholeRun } from "../../core/unread.ts";
import { entryOf, outlineOf } from "../entry-row.ts";
import {
  chosenSource,
  isChoice,
  type ListLimits,
  type ListPage,
  type ListPosition,
  type ListSource,
  narrowSources,
} from "../find.ts";
import { complete, type Loaded, loadedPage, loadedRuns } from "../heavy.ts";
import { cutJournal } from "../journal.ts";
import { type RegisteredWorker, workerOf } from "../registered-worker.ts";
import { numberOf, payloadsOf, type Row, runOf, textOf } from "../row.ts";
import { runStatsOf, type Stats, type StatsLimits } from "../stats.ts";
import type { JournalRequest, Reader, ReferenceKey } from "../storage.ts";
import { fromText, toText } from "../text.ts";
import type { Connection } from "./connection.ts";
import { countQuery, examinedQuery, listRun } from "./find.ts";
import * as sql from "./statements.ts";

export class SqliteReader implements Reader {
  protected readonly connection: Connection;
  readonly #env: Pick<Env, "now">;

  constructor(connection: Connection, env: Pick<Env, "now">) {
    this.connection = connection;
    this.#env = env;
  }

  now(): number {
    return this.#env.now();
  }

  fenceFloor(): number {
    return 0;
  }

  async load(ids: RunId[]): Promise<Run[]> {
    return this.runs(sql.loadRun, distinctTexts(ids));
  }

  async payloads(ids: RunId[]): Promise<Map<RunId, Payloads>> {
    const found = new Map<RunId, Payloads>();
    for (const id of ids) {
      const row = this.connection.first(sql.selectPayloads, toText(id));
      if (row !== undefined) found.set(id, payloadsOf(row));
    }
    return found;
  }

  async journal(requests: JournalRequest[]): Promise<Entry[][]> {
    return requests.map(({ runId, after, limit, bytes }) => {
      const rows = this.connection.rows(sql.selectJournal, toText(runId), after, limit);
      return cutJournal(mapped(rows, entryOf), limit, bytes);
    });
  }

  async entriesAt(keys: EntryKey[]): Promise<Outline[]> {
    const found = new Map<string, Outline>();
    for (const { runId, attempt, address } of keys) {
      const row = this.connection.first(sql.selectEntryAt, toText(runId), toText(address), attempt);
      if (row !== undefined) found.set(JSON.stringify([runId, attempt, address]), outlineOf(row));
    }
    return [...found.values()];
  }

  async nextDue(): Promise<number | null> {
    const row = this.connection.first(sql.selectNextDue);
    return row === undefined ? null : numberOf(row, "due_at");
  }

  async children(parents: RunId[], limit: number): Promise<RunId[]> {
    const ids: RunId[] = [];
    for (const parent of new Set(parents)) {
      if (ids.length >= limit) break;
      ids.push(...this.connection.all(sql.selectChildren, toText(parent), limit - ids.length).map(idOf));
    }
    return ids;
  }

  async stalledChildren(parents: RunId[]): Promise<Run[]> {
    return this.runs(sql.selectStalledChild, distinctTexts(parents));
  }

  async claimed(session: string, claimIds: readonly string[]): Promise<RunId[]> {
    const taken = (claimId: string) => this.connection.all(sql.selectClaimed, toText(session), toText(claimId));
    return [...new Set(claimIds)].flatMap(taken).map(idOf).sort();
  }

  async inSession(namespace: string, session: string, limit: number): Promise<RunId[]> {
    return this.connection.all(sql.selectInSession, toText(session), toText(namespace), limit).map(idOf);
  }

  async referenced(keys: ReferenceKey[]): Promise<Run[]> {
    const found = new Map<unknown, Row>();
    for (const { namespace, name, referenceId } of keys) {
      const row = this.connection.first(sql.loadReferenced, toText(namespace), toText(name), toText(referenceId));
      if (row !== undefined) found.set(row.id, row);
    }
    return complete(await this.#loaded([...found.values()]));
  }

  async find(namespace: string, request: FindRequest, listLimits: ListLimits): Promise<ListPage> {
    if (request.status?.length === 0) return { runs: [], next: null };
    const source = this.#sourceOf(namespace, request, listLimits);
    const { sql: text, values } = examinedQuery(namespace, request, listLimits, source);
    const ids: RunId[] = [];
    let examined = 0;
    let last: ListPosition | null = null;
    for (const row of this.connection.rows(text, ...values)) {
      examined += 1;
      last = { createdAt: numberOf(row, "created_at"), id: idOf(row) };
      if (numberOf(row, "fits") === 1) ids.push(last.id);
      if (ids.length > listLimits.limit) break;
    }
    const isCut = source.isOrdered && examined >= listLimits.scan;
    const rows = this.#each(listRun, ids.map(toText));
    return loadedPage(rows, await this.#loaded(rows), listLimits.limit, isCut ? last : null);
  }

  /** The row of each of these keys, where there is one. Throws `RowsLeft`. */
  protected async runs(statement: string, keys: readonly string[]): Promise<Run[]> {
    return complete(await this.#loaded(this.#each(statement, keys)));
  }

  #loaded(rows: readonly Row[]): Promise<Loaded> {
    return loadedRuns(rows, (ids) => this.#each(sql.loadHeavy, ids));
  }

  #each(statement: string, keys: readonly string[]): Row[] {
    const rows = keys.map((key) => this.connection.first(statement, key));
    return rows.filter((row) => row !== undefined);
  }

  #sourceOf(namespace: string, request: FindRequest, listLimits: ListLimits): ListSource {
    const sources = narrowSources(request);
    if (!isChoice(sources)) return chosenSource(sources, [], listLimits);
    const { sql: text, values } = countQuery(namespace, request, listLimits, sources);
    const row = this.connection.first(text, ...values) ?? {};
    const counts = sources.map((_, place) => numberOf(row, `count_${place}`));
    return chosenSource(sources, counts, listLimits);
  }

  async workers(namespace: string, at: number): Promise<RegisteredWorker[]> {
    return this.connection.all(sql.selectWorkers, toText(namespace), at).map(workerOf);
  }

  async stats(at: number, { queues, queued, stalled }: StatsLimits): Promise<Stats> {
    const counted = this.connection.all(sql.selectRunStats, queues, queued, stalled).map((row) => {
      const [count, since]: [number, number | null] = JSON.parse(textOf(row, "counted"));
      return { ...row, count, since };
    });
    return { ...runStatsOf(counted), workers: this.connection.all(sql.selectLiveWorkers, at).map(workerOf) };
  }

  async all(after: RunId | null, limit: number): Promise<WholeRun[]> {
    return this.connection
      .all(sql.selectAll, after === null ? "" : toText(after), limit)
      .map((row) => wholeRun(runOf(row)));
  }
}

export function distinctTexts(ids: readonly RunId[]): string[] {
  return [...new Set(ids)].map(toText);
}

export function idOf(row: Row): RunId {
  return fromText(textOf(row, "id"));
}

function* mapped<From, To>(items: Iterable<From>, map: (item: From) => To): Generator<To> {
  for (const item of items) yield map(item);
}
