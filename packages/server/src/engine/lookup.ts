/** The verbs `find` and `read`. */

import { AikiError } from "@aikirun/lib";
import {
  type Entry,
  type FindReply,
  type FindRequest,
  limits,
  type ReadReply,
  type ReadRequest,
  type ReadResult,
  type RunId,
  type WhyResult,
} from "@aikirun/lib/protocol";
import type { Run, WholeRun } from "../core/run.ts";
import type { ListPosition } from "../storage/find.ts";
import { fitting } from "../storage/heavy.ts";
import type { Reader, Storage } from "../storage/storage.ts";

import { isAwaiting, stalledChildren } from "./awaited-children.ts";
import { type Budget, parts, replyBudget, takeView, waitsBytes } from "./budget.ts";
import { claimedWait } from "./claims.ts";
import type { StalledChild } from "./explanation.ts";
import { bytesOf } from "./journals.ts";
import type { ListQueue } from "./list-queue.ts";
import { notFound } from "./operation.ts";
import { version } from "./version.ts";
import { viewOf } from "./view.ts";
import { whole } from "./whole.ts";
import { whyOf } from "./why.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

export interface LookupContext {
  namespace: string;
  storage: Pick<Storage, "read">;
  /** Shared by all namespaces. */
  lists: ListQueue;
  registry: WorkerRegistry;
}

const defaultPage = 50;
const maxPage = 200;
/** How many rows are examined for one page at most, which takes the database tens of milliseconds. */
const maxExamined = 5_000;
const maxEntries = 1_000;

/** @throws `BAD_REQUEST` for a cursor that is not from a reply; `UNAVAILABLE` while too many lists are requested. */
export async function find(context: LookupContext, request: FindRequest): Promise<FindReply> {
  const { namespace, storage, lists, registry } = context;
  const limit = Math.min(Math.max(1, request.limit ?? defaultPage), maxPage);
  const after = request.cursor === undefined ? null : openCursor(request.cursor);
  const listLimits = { limit, scan: maxExamined, after };
  const { runs, next } = await lists(() => storage.read((reader) => reader.find(namespace, request, listLimits)));
  const fitting = fittingIn(replyBudget(), runs);
  const from = fitting.length < runs.length ? (fitting.at(-1) ?? null) : next;
  const isServed = await registry.serving(namespace, fitting);
  return {
    runs: fitting.map((run) => viewOf(run, { isServed })),
    ...(from === null ? {} : { cursor: cursorOf(from) }),
  };
}

function fittingIn(budget: Budget, runs: WholeRun[]): WholeRun[] {
  const fitting: WholeRun[] = [];
  for (const run of runs) {
    if (budget.isLeft) fitting.push(run);
    takeView(budget, run);
  }
  return fitting;
}

export async function read(context: LookupContext, { runs, workers, why }: ReadRequest): Promise<ReadReply> {
  const { namespace, storage, registry } = context;
  const reply = replyBudget();
  const found = await storage.read((reader) => foundRuns({ reader, namespace, reply }, runs));
  const isServed = await registry.serving(
    namespace,
    found.flatMap((one) => ("run" in one ? one.run : [])),
  );
  const results = found.map((one) => ("run" in one ? resultOf(one, isServed) : notFound(one.runId)));
  return {
    results,
    ...(found.length < runs.length ? { more: true } : {}),
    ...(workers === true ? { workers: await registry.list(namespace), serverVersion: version } : {}),
    ...(why === undefined ? {} : { why: await whyResult(context, why) }),
  };
}

async function whyResult({ namespace, storage, registry }: LookupContext, runId: RunId): Promise<WhyResult> {
  const workers = await registry.list(namespace);
  const why = await storage.read((reader) => whyOf(reader, namespace, runId, workers));
  return why === null ? notFound(runId) : { ok: true, why };
}

interface Reading {
  reader: Reader;
  namespace: string;
  reply: Budget;
}

/** As many runs as fit into the reply, and always the first one. */
async function foundRuns(reading: Reading, requested: ReadRequest["runs"]): Promise<Found[]> {
  const { reader, reply } = reading;
  const found: Found[] = [];
  for (const some of parts(requested)) {
    for (let left = some; left.length > 0; ) {
      const loaded = await fitting(reader.load(left.map(({ runId }) => runId)));
      const behind = left.findIndex(({ runId }) => loaded.left.includes(runId));
      const end = behind < 0 ? left.length : behind;
      found.push(...(await foundAmong(reading, left.slice(0, end), loaded.runs)));
      if (!reply.isLeft) {
        return found;
      }
      left = left.slice(end);
    }
  }
  return found;
}

async function foundAmong(
  { reader, namespace, reply }: Reading,
  requested: ReadRequest["runs"],
  runs: readonly Run[],
): Promise<Found[]> {
  const found: Found[] = [];
  const loaded = new Map(runs.map((run) => [run.id, run]));
  const stalled = await stalledChildren(reader, runs.filter(isAwaiting));
  for (const { runId, entries, waits } of requested) {
    if (!reply.isLeft) {
      return found;
    }
    const run = loaded.get(runId);
    if (run === undefined || run.namespace !== namespace) {
      reply.take();
      found.push({ runId });
      continue;
    }
    const listed = await page(reader, run, entries);
    const [full] = await whole(reader, [run]);
    if (full !== undefined) found.push({ run: full, entries: listed, waits, stalledChild: stalled.get(runId) });
    takeView(reply, run);
    reply.takeBytes(bytesOf(listed ?? []));
    // Open waits are in memory until the reply is sent, even if they were not requested.
    reply.takeBytes(waitsBytes(run));
  }
  return found;
}

/** A run with the requested page of its entries, or an id without a run. */
type Found = FoundRun | { runId: RunId };

interface FoundRun {
  run: WholeRun;
  entries: Entry[] | null;
  /** Whether its open waits were requested. */
  waits: boolean | undefined;
  stalledChild: StalledChild | undefined;
}

async function page(reader: Reader, run: Run, wanted: ReadRequest["runs"][number]["entries"]): Promise<Entry[] | null> {
  if (wanted === undefined) {
    return null;
  }
  const { after } = wanted;
  const limit = Math.min(Math.max(1, wanted.limit), maxEntries);
  const [entries = []] = await reader.journal([{ runId: run.id, after, limit, bytes: limits.journalPageBytes }]);
  return entries;
}

function resultOf({ run, entries, waits, stalledChild }: FoundRun, isServed: (run: Run) => boolean): ReadResult {
  const more = entries !== null && (entries.at(-1)?.seq ?? run.tail) < run.tail;
  const open = waits === true ? { waits: run.waits.map(claimedWait) } : {};
  return { ok: true, run: viewOf(run, { isServed, stalledChild }), entries: entries ?? [], more, ...open };
}

function cursorOf({ createdAt, id }: ListPosition): string {
  return Buffer.from(`${createdAt} ${id}`).toString("base64url");
}

function openCursor(cursor: string): ListPosition {
  const text = Buffer.from(cursor, "base64url").toString();
  const [, createdAt, id] = /^(-?\d{1,16}) ([0-9a-f-]{36})$/.exec(text) ?? [];
  if (id === undefined) {
    throw new AikiError("BAD_REQUEST", "The cursor is not from a reply; repeat the request without it.");
  }
  return { createdAt: Number(createdAt), id };
}
