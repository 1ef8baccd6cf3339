import type { Entry, FindRequest, RunId } from "@aikirun/lib/protocol";
import type { EntryKey } from "../../core/entry-keys.ts";
import type { Outline, Run, WholeRun } from "../../core/run.ts";
import { type Payloads, wholeRun } from "../../core/unread.ts";
import { entryOf, outlineOf } from "../entry-row.ts";
import { chosenSource, isChoice, type ListLimits, type ListPage, type ListSource, narrowSources } from "../find.ts";
import { complete, type Loaded, loadedPage, loadedRuns } from "../heavy.ts";
import { cutJournal } from "../journal.ts";
import { type RegisteredWorker, workerOf } from "../registered-worker.ts";
import { numberOf, payloadsOf, type Row, runOf, textOf } from "../row.ts";
import { runStatsOf, type Stats, type StatsLimits } from "../stats.ts";
import type { JournalRequest, Reader, ReferenceKey } from "../storage.ts";
import { fromText, toText } from "../text.ts";
import { countQuery, pageQuery, reachedQuery, readInOrder } from "./find.ts";
import type { Session } from "./session.ts";
import * as sql from "./statements.ts";

export class PostgresReader implements Reader {
  protected readonly session: Session;
  readonly #now: number;

  /** `now`: the time when the transaction began, by the database's clock. Epoch milliseconds. */
  constructor(session: Session, now: number) {
    this.session = session;
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  fenceFloor(): number {
    return this.session.fenceFloor;
  }

  async load(ids: RunId[]): Promise<Run[]> {
    if (ids.length === 0) return [];
    return this.runs(sql.loadRun, [texts([...new Set(ids)])]);
  }

  async payloads(ids: RunId[]): Promise<Map<RunId, Payloads>> {
    const rows = ids.length === 0 ? [] : await this.session.rows(sql.selectPayloads, [texts([...new Set(ids)])]);
    return new Map(rows.map((row) => [idOf(row), payloadsOf(row)]));
  }

  async journal(requests: JournalRequest[]): Promise<Entry[][]> {
    if (requests.length === 0) return [];
    const rows = await this.session.rows(sql.selectJournal, [
      requests.map(({ runId }) => toText(runId)),
      requests.map(({ after }) => after),
      requests.map(({ limit }) => Math.max(0, limit)),
      requests.map(({ bytes }) => bytes),
    ]);
    const pages: Entry[][] = requests.map(() => []);
    for (const row of rows) pages[numberOf(row, "place") - 1]?.push(entryOf(row));
    return requests.map(({ limit, bytes }, at) => cutJournal(pages[at] ?? [], limit, bytes));
  }

  async entriesAt(keys: EntryKey[]): Promise<Outline[]> {
    const distinct = distinctBy(keys, ({ runId, attempt, address }) => JSON.stringify([runId, attempt, address]));
    if (distinct.length === 0) return [];
    const rows = await this.session.rows(sql.selectEntryAt, [
      texts(distinct.map(({ runId }) => runId)),
      texts(distinct.map(({ address }) => address)),
      distinct.map(({ attempt }) => attempt),
    ]);
    return rows.map(outlineOf);
  }

  async nextDue(): Promise<number | null> {
    const [row] = await this.session.rows(sql.selectNextDue);
    return row === undefined ? null : numberOf(row, "due_at");
  }

  async children(parents: RunId[], limit: number): Promise<RunId[]> {
    if (parents.length === 0) return [];
    return this.ids(sql.selectChildren, [texts([...new Set(parents)]), limit]);
  }

  async stalledChildren(parents: RunId[]): Promise<Run[]> {
    if (parents.length === 0) return [];
    return this.runs(sql.selectStalledChild, [texts([...new Set(parents)])]);
  }

  claimed(session: string, claimIds: readonly string[]): Promise<RunId[]> {
    return this.ids(sql.selectClaimed, [toText(session), texts(claimIds)]);
  }

  inSession(namespace: string, session: string, limit: number): Promise<RunId[]> {
    return this.ids(sql.selectInSession, [toText(session), toText(namespace), limit]);
  }

  async referenced(keys: ReferenceKey[]): Promise<Run[]> {
    const distinct = distinctBy(keys, ({ namespace, name, referenceId }) =>
      JSON.stringify([namespace, name, referenceId]),
    );
    if (distinct.length === 0) return [];
    return this.runs(sql.loadReferenced, [
      texts(distinct.map(({ namespace }) => namespace)),
      texts(distinct.map(({ name }) => name)),
      texts(distinct.map(({ referenceId }) => referenceId)),
    ]);
  }

  async find(namespace: string, request: FindRequest, listLimits: ListLimits): Promise<ListPage> {
    if (request.status?.length === 0) return { runs: [], next: null };
    await this.session.rows(readInOrder);
    const source = await this.#sourceOf(namespace, request, listLimits);
    const page = pageQuery(namespace, request, listLimits, source);
    const { limit } = listLimits;
    const rows = await this.session.rows(page.sql, page.values);
    const loaded = await this.#loaded(rows);
    if (!source.isOrdered || rows.length > limit) return loadedPage(rows, loaded, limit, null);
    const reached = reachedQuery(namespace, request, listLimits, source);
    const [row] = await this.session.rows(reached.sql, reached.values);
    const position = row === undefined ? null : { createdAt: numberOf(row, "created_at"), id: idOf(row) };
    return loadedPage(rows, loaded, limit, position);
  }

  async #sourceOf(namespace: string, request: FindRequest, listLimits: ListLimits): Promise<ListSource> {
    const sources = narrowSources(request);
    if (!isChoice(sources)) return chosenSource(sources, [], listLimits);
    const query = countQuery(namespace, request, listLimits, sources);
    const [row = {}] = await this.session.rows(query.sql, query.values);
    const counts = sources.map((_, place) => numberOf(row, `count_${place}`));
    return chosenSource(sources, counts, listLimits);
  }

  async workers(namespace: string, at: number): Promise<RegisteredWorker[]> {
    return (await this.session.rows(sql.selectWorkers, [toText(namespace), at])).map(workerOf);
  }

  async stats(at: number, { queues, queued, stalled }: StatsLimits): Promise<Stats> {
    const counted = await this.session.rows(sql.selectRunStats, [queues, queued, stalled]);
    const workers = await this.session.rows(sql.selectLiveWorkers, [at]);
    return { ...runStatsOf(counted), workers: workers.map(workerOf) };
  }

  async all(after: RunId | null, limit: number): Promise<WholeRun[]> {
    return (await this.session.rows(sql.selectAll, [after === null ? "" : toText(after), limit])).map((row) =>
      wholeRun(runOf(row)),
    );
  }

  /** Throws `RowsLeft`. */
  protected async runs(statement: string, values: readonly unknown[]): Promise<Run[]> {
    return complete(await this.#loaded(await this.session.rows(statement, values)));
  }

  #loaded(rows: readonly Row[]): Promise<Loaded> {
    return loadedRuns(rows, (ids) => this.session.rows(sql.loadHeavy, [ids]));
  }

  protected async ids(statement: string, values: readonly unknown[]): Promise<RunId[]> {
    return (await this.session.rows(statement, values)).map(idOf);
  }
}

export function idOf(row: Row): RunId {
  return fromText(textOf(row, "id"));
}

function texts(values: readonly string[]): string[] {
  return values.map(toText);
}

function distinctBy<Item>(items: readonly Item[], key: (item: Item) => string): Item[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
