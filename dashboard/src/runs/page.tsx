/** The list of runs. */

import type { FindReply, RunView } from "@aikirun/lib/protocol";
import { type InfiniteData, keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useRef } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { useKeys } from "../keys.tsx";
import { useKept, useParam, useRememberedList } from "../params.ts";
import { Empty, ErrorNote, StatusBadge } from "../parts.tsx";
import { call } from "../server.ts";
import { Ago, spanText } from "../time.tsx";
import { useTitle } from "../title.ts";
import { FilterBar } from "./filter-bar.tsx";
import { isFiltered, requestOf } from "./filters.ts";

const pageSize = 100;
/** How often the list is read again while only its first page is shown. Milliseconds. */
const refreshMs = 2_000;
const rowHeight = 45;

export function RunsPage(): ReactNode {
  const [params] = useSearchParams();
  const request = requestOf(params);
  useRememberedList();
  useTitle("Runs");
  const list = useInfiniteQuery<FindReply, Error, InfiniteData<FindReply>, readonly unknown[], string | null>({
    queryKey: ["runs", request],
    queryFn: ({ pageParam, signal }) => call("find", { ...request, limit: pageSize, ...cursorOf(pageParam) }, signal),
    initialPageParam: null,
    getNextPageParam: ({ cursor }) => cursor ?? null,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) => ((state.data?.pages.length ?? 0) > 1 ? false : refreshMs),
  });
  const runs = list.data?.pages.flatMap((page) => page.runs) ?? [];
  const isShort = runs.length < pageSize && list.hasNextPage && !list.isFetching;
  // A page may be empty and not be the last one: the server examines a bounded number of runs for each.
  useEffect(() => {
    if (isShort) void list.fetchNextPage();
  }, [isShort, list.fetchNextPage]);
  return (
    <>
      <h1 className="sr-only">Runs</h1>
      <FilterBar />
      <div className="mt-3">
        {list.error === null ? null : <ErrorNote error={list.error} />}
        <RunTable
          runs={runs}
          now={list.dataUpdatedAt}
          hasMore={list.hasNextPage}
          onMore={() => !list.isFetchingNextPage && void list.fetchNextPage()}
        />
        {list.isPending ? <Empty>Loading…</Empty> : null}
        {!list.isPending && runs.length === 0 && !list.hasNextPage ? <NoRuns /> : null}
      </div>
    </>
  );
}

function cursorOf(cursor: string | null): { cursor?: string } {
  return cursor === null ? {} : { cursor };
}

function NoRuns(): ReactNode {
  const [params] = useSearchParams();
  if (isFiltered(params)) return <Empty>No run matches these filters.</Empty>;
  return (
    <Empty>
      There are no runs yet. Start one from your code with <code className="font-mono">version.start(aiki, input)</code>
      .
    </Empty>
  );
}

interface TableProps {
  runs: readonly RunView[];
  /** When the runs were read. */
  now: number;
  hasMore: boolean;
  onMore: () => void;
}

function RunTable({ runs, now, hasMore, onMore }: TableProps): ReactNode {
  const top = useRef<HTMLDivElement>(null);
  const [selected, setSelected] = useParam("run");
  const [, navigate] = useLocation();
  const kept = useKept();
  const rows = useWindowVirtualizer({
    count: runs.length,
    estimateSize: () => rowHeight,
    overscan: 12,
    scrollMargin: top.current?.offsetTop ?? 0,
  });
  const items = rows.getVirtualItems();
  const last = items.at(-1)?.index ?? -1;
  const isNearEnd = hasMore && last >= runs.length - 20 && runs.length >= pageSize;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page is asked for when the end comes near.
  useEffect(() => {
    if (isNearEnd) onMore();
  }, [isNearEnd, runs.length]);
  const index = runs.findIndex(({ id }) => id === selected);
  const select = (to: number) => {
    const run = runs[Math.min(Math.max(to, 0), runs.length - 1)];
    if (run === undefined) return;
    setSelected(run.id, true);
    rows.scrollToIndex(runs.indexOf(run));
  };
  useKeys({
    j: () => select(index + 1),
    k: () => select(index - 1),
    Enter: () => index >= 0 && navigate(`/runs/${selected}${kept}`),
  });
  if (runs.length === 0) return null;
  return (
    <div ref={top} className="rounded-lg border border-line bg-panel">
      <div className={`${columns} border-b border-line py-1.5 text-[12px] font-medium text-muted`}>
        <span>Status</span>
        <span>Workflow</span>
        <span className="hidden md:block">What it does</span>
        <span className="hidden text-right sm:block">Duration</span>
        <span className="text-right">Created</span>
      </div>
      <ol aria-label="Runs" className="relative" style={{ height: rows.getTotalSize() }}>
        {items.map(({ index: at, start }) => {
          const run = runs[at];
          return run === undefined ? null : (
            <li
              key={run.id}
              aria-current={run.id === selected ? "true" : undefined}
              className={`${columns} ${rowClass} ${run.id === selected ? "bg-selected" : "hover:bg-hover"}`}
              style={{ height: rowHeight, transform: `translateY(${start - rows.options.scrollMargin}px)` }}
            >
              <RunCells run={run} now={now} to={`/runs/${run.id}${kept}`} />
            </li>
          );
        })}
      </ol>
    </div>
  );
}

const columns =
  "grid items-center gap-3 px-3 grid-cols-[7.5rem_1fr_6rem] sm:grid-cols-[8rem_1fr_5rem_6rem] " +
  "md:grid-cols-[8rem_minmax(12rem,1fr)_2fr_6rem_7rem]";

const rowClass = "absolute inset-x-0 border-b border-line";

function RunCells({ run, now, to }: { run: RunView; now: number; to: string }): ReactNode {
  const end = run.outcome === undefined ? now : run.updatedAt;
  return (
    <>
      <span>
        <StatusBadge status={run.status} />
      </span>
      <span className="min-w-0">
        <Link href={to} className="block truncate font-medium hover:underline">
          {run.name}
          <span className="text-muted">@{run.versionId}</span>
        </Link>
        <span className="block truncate font-mono text-[11px] text-muted" title={run.id}>
          {run.referenceId ?? run.id}
        </span>
      </span>
      <span className="hidden truncate text-muted md:block" title={run.explanation}>
        {run.explanation}
      </span>
      <span className="hidden text-right text-muted tabular-nums sm:block">{spanText(end - run.createdAt)}</span>
      <span className="text-right text-muted tabular-nums">
        <Ago at={run.createdAt} now={now} />
      </span>
    </>
  );
}
