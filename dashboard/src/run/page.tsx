/** One run: why it does not move, its timeline, its input and outcome, and its children. */

import type { RunView } from "@aikirun/lib/protocol";
import type { ReactNode } from "react";
import { Link, useLocation } from "wouter";
import { useKeys } from "../keys.tsx";
import { lastListSearch, useKept } from "../params.ts";
import { Copy, Empty, ErrorNote, Panel, StatusBadge } from "../parts.tsx";
import { Payload } from "../payload.tsx";
import { Moment, spanText, useZone } from "../time.tsx";
import { useTitle } from "../title.ts";
import { Actions } from "./actions.tsx";
import { FailureText } from "./failure.tsx";
import { useChildren, useRun, useWhy } from "./load.ts";
import { Timeline } from "./timeline.tsx";

export default function RunPage({ id }: { id: string }): ReactNode {
  const loaded = useRun(id);
  const kept = useKept();
  const [, navigate] = useLocation();
  useKeys({ u: () => navigate(`/${lastListSearch() ?? kept}`) });
  useTitle(loaded.data === undefined ? "Run" : `${loaded.data.run.name} ${loaded.data.run.status}`);
  if (loaded.data === undefined) {
    return loaded.error === null ? <Empty>Loading…</Empty> : <ErrorNote error={loaded.error} />;
  }
  const { run, entries } = loaded.data;
  return (
    <div className="grid gap-4">
      {loaded.error === null ? null : <ErrorNote error={loaded.error} />}
      <Header run={run} />
      <WhyPanel run={run} />
      <Timeline run={run} entries={entries} now={loaded.dataUpdatedAt} />
      <div className="grid gap-4 lg:grid-cols-2">
        <Panel title="Input">
          <Payload json={run.input} what={`input of ${run.id}`} />
        </Panel>
        <Outcome run={run} />
      </div>
      <Children run={run} />
    </div>
  );
}

function Header({ run }: { run: RunView }): ReactNode {
  const end = run.outcome === undefined ? Date.now() : run.updatedAt;
  return (
    <header className="grid gap-3">
      <div className="flex flex-wrap items-center gap-3">
        <h1 className="text-[18px] font-semibold">
          {run.name}
          <span className="text-muted">@{run.versionId}</span>
        </h1>
        <StatusBadge status={run.status} />
        <div className="ml-auto">
          <Actions run={run} />
        </div>
      </div>
      <dl className="flex flex-wrap gap-x-6 gap-y-1 text-[13px]">
        <Term name="Run">
          <span className="font-mono text-[12px]">{run.id}</span> <Copy text={run.id} what="the id of the run" />
        </Term>
        {run.referenceId === undefined ? null : (
          <Term name="Reference">
            {run.referenceId} <Copy text={run.referenceId} what="the reference" />
          </Term>
        )}
        <Term name="Created">
          <Moment at={run.createdAt} />
        </Term>
        <Term name="Duration">{spanText(end - run.createdAt)}</Term>
        <Term name="Attempt">{run.attempt}</Term>
        {run.shardKey === undefined ? null : <Term name="Shard">{run.shardKey}</Term>}
        {run.priority === 0 ? null : <Term name="Priority">{run.priority}</Term>}
        {run.worker === undefined ? null : <Term name="Worker">{run.worker}</Term>}
        {run.tags.length === 0 ? null : <Term name="Tags">{run.tags.join(", ")}</Term>}
        {run.parent === undefined ? null : <RunTerm name="Parent" id={run.parent.id} />}
        {run.retryOf === undefined ? null : <RunTerm name="Retry of" id={run.retryOf} />}
      </dl>
    </header>
  );
}

function Term({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <div className="flex items-baseline gap-1.5">
      <dt className="text-muted">{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function RunTerm({ name, id }: { name: string; id: string }): ReactNode {
  const kept = useKept();
  return (
    <Term name={name}>
      <Link href={`/runs/${id}${kept}`} className="font-mono text-[12px] text-accent hover:underline">
        {id}
      </Link>
    </Term>
  );
}

function WhyPanel({ run }: { run: RunView }): ReactNode {
  const why = useWhy(run.id, run.outcome === undefined);
  const kept = useKept();
  if (run.outcome?.status === "completed") return null;
  const links = why.data?.links ?? [];
  return (
    <Panel title={run.outcome === undefined ? "Why it is where it is" : "Why it ended so"}>
      {links.length === 0 ? <p>{run.explanation}</p> : null}
      <ol className="grid gap-2">
        {links.map(({ runId, name, versionId, status, text }, depth) => (
          <li key={runId} className={depth === 0 ? "" : "border-l-2 border-line-strong pl-3"}>
            {depth === 0 ? null : (
              <p className="mb-0.5 flex items-center gap-2 text-[12px]">
                <Link href={`/runs/${runId}${kept}`} className="font-medium text-accent hover:underline">
                  {name}@{versionId}
                </Link>
                <StatusBadge status={status} />
              </p>
            )}
            <p className="break-words">{text}</p>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

function Outcome({ run }: { run: RunView }): ReactNode {
  const { outcome, lastError } = run;
  if (outcome?.status === "completed") {
    return (
      <Panel title="Output">
        <Payload json={outcome.output} what={`output of ${run.id}`} />
      </Panel>
    );
  }
  const error = outcome?.status === "failed" ? outcome.error : lastError;
  if (error === undefined) {
    const reason = outcome?.status === "cancelled" ? outcome.reason : undefined;
    const text = outcome === undefined ? "It has not ended." : (reason ?? "It was cancelled without a reason.");
    return (
      <Panel title="Outcome">
        <p className="text-muted">{text}</p>
      </Panel>
    );
  }
  return (
    <Panel title={outcome === undefined ? "Error of the last attempt" : "Error"}>
      <FailureText failure={error} />
    </Panel>
  );
}

function Children({ run }: { run: RunView }): ReactNode {
  const children = useChildren(run.id, run.outcome === undefined);
  const kept = useKept();
  const zone = useZone() === "utc" ? { zone: "utc" } : {};
  const list = children.data ?? [];
  if (list.length === 0) return null;
  return (
    <Panel
      title={`Children (${list.length === 100 ? "the first 100" : list.length})`}
      extra={
        <Link href={`/?${new URLSearchParams({ ...zone, parentId: run.id })}`} className="text-accent hover:underline">
          Show as a list
        </Link>
      }
    >
      <ul className="grid gap-1">
        {list.map((child) => (
          <li key={child.id} className="flex flex-wrap items-center gap-2">
            <StatusBadge status={child.status} />
            <Link href={`/runs/${child.id}${kept}`} className="font-medium hover:underline">
              {child.name}@{child.versionId}
            </Link>
            <span className="font-mono text-[12px] text-muted">{child.id}</span>
            <span className="text-muted">{child.explanation}</span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
