/** Finding and reading runs. Nothing here decides anything. */

import { AikiError } from "@aikirun/lib";
import {
  type FindReply,
  type FindRequest,
  limits,
  type ReadReply,
  type ReadRequest,
  type ReadResult,
  type RunView,
} from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import type { Reader, Storage } from "../storage/storage.ts";
import { notFound } from "./operation.ts";
import type { Presence } from "./presence.ts";
import { viewOf } from "./view.ts";

export interface LookupContext {
  namespace: string;
  storage: Pick<Storage, "read">;
  presence: Presence;
}

const defaultPage = 50;
const maxPage = 200;
const maxEntries = 1_000;

/** @throws `BAD_REQUEST` for a cursor that no reply gave out. */
export async function find({ namespace, storage, presence }: LookupContext, request: FindRequest): Promise<FindReply> {
  const limit = Math.min(Math.max(1, request.limit ?? defaultPage), maxPage);
  const after = request.cursor === undefined ? null : openCursor(request.cursor);
  const page = await storage.read((reader) => reader.find(namespace, request, limit + 1, after));
  const runs = page.slice(0, limit);
  const last = runs.at(-1);
  return {
    runs: runs.map((run) => withoutPayloads(viewOf(run, presence.isServed))),
    ...(page.length > limit && last !== undefined ? { cursor: Buffer.from(last.id).toString("base64url") } : {}),
  };
}

export async function read(context: LookupContext, { runs }: ReadRequest): Promise<ReadReply> {
  return context.storage.read(async (reader) => {
    const loaded = new Map((await reader.load(runs.map(({ runId }) => runId))).map((run) => [run.id, run]));
    const results: ReadResult[] = [];
    for (const { runId, entries } of runs) {
      const run = loaded.get(runId);
      results.push(
        run === undefined || run.namespace !== context.namespace
          ? notFound(runId)
          : await readOne(context, reader, run, entries),
      );
    }
    return { results };
  });
}

async function readOne(
  { presence }: LookupContext,
  reader: Reader,
  run: Run,
  wanted: ReadRequest["runs"][number]["entries"],
): Promise<ReadResult> {
  const view = viewOf(run, presence.isServed);
  if (wanted === undefined) {
    return { ok: true, run: view, entries: [], more: false };
  }
  const { after } = wanted;
  const limit = Math.min(Math.max(1, wanted.limit), maxEntries);
  const [entries = []] = await reader.journal([{ runId: run.id, after, limit, bytes: limits.journalPageBytes }]);
  return { ok: true, run: view, entries, more: (entries.at(-1)?.seq ?? run.tail) < run.tail };
}

function withoutPayloads({ input: _, ...view }: RunView): RunView {
  return view.outcome?.status === "completed" ? { ...view, outcome: { status: "completed" } } : view;
}

function openCursor(cursor: string): string {
  const id = Buffer.from(cursor, "base64url").toString();
  if (!/^[0-9a-f-]{36}$/.test(id)) {
    throw new AikiError("BAD_REQUEST", "The cursor is not one that a reply gave out; begin again without it.");
  }
  return id;
}
