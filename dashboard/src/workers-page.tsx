/** The live workers. */

import type { LiveWorker } from "@aikirun/lib/protocol";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Empty, ErrorNote } from "./parts.tsx";
import { call } from "./server.ts";
import { Ago } from "./time.tsx";
import { useTitle } from "./title.ts";

export default function WorkersPage(): ReactNode {
  const workers = useQuery({
    queryKey: ["workers"],
    queryFn: async ({ signal }) => (await call("read", { runs: [], workers: true }, signal)).workers ?? [],
    refetchInterval: 2_000,
  });
  useTitle("Workers");
  const list = workers.data ?? [];
  return (
    <>
      <h1 className="mb-3 text-[16px] font-semibold">Workers</h1>
      {workers.error === null ? null : <ErrorNote error={workers.error} />}
      {workers.isPending ? <Empty>Loading…</Empty> : null}
      {workers.isSuccess && list.length === 0 ? (
        <Empty>No worker is alive. Queued runs continue when a worker that serves them starts.</Empty>
      ) : null}
      <ul className="grid gap-3 md:grid-cols-2 xl:grid-cols-3">
        {list.map((worker) => (
          <li key={worker.session}>
            <WorkerCard worker={worker} now={workers.dataUpdatedAt} />
          </li>
        ))}
      </ul>
    </>
  );
}

function WorkerCard({ worker, now }: { worker: LiveWorker; now: number }): ReactNode {
  const { serves, shardKeys, load } = worker;
  return (
    <article className="h-full rounded-lg border border-line bg-panel p-3">
      <h2 className="truncate font-semibold" title={worker.worker}>
        {worker.worker}
      </h2>
      <p className="mb-2 text-[12px] text-muted">
        last heartbeat <Ago at={worker.seenAt} now={now} />, running since <Ago at={worker.since} now={now} />
      </p>
      {load === undefined ? null : <Slots busy={load.busy} slots={load.slots} />}
      {shardKeys.length === 0 ? null : (
        <p className="mt-2 text-[12px]">
          <span className="text-muted">Shards</span> {shardKeys.join(", ")}
        </p>
      )}
      <ul className="mt-2 flex flex-wrap gap-1">
        {serves.map(({ name, versionId }) => (
          <li key={`${name}@${versionId}`} className="rounded bg-idle-soft px-1.5 py-0.5 text-[12px] text-idle">
            {name}@{versionId}
          </li>
        ))}
      </ul>
    </article>
  );
}

function Slots({ busy, slots }: { busy: number; slots: number }): ReactNode {
  const full = slots === 0 ? 0 : Math.min(1, busy / slots);
  return (
    <div>
      <div className="flex justify-between text-[12px]">
        <span className="text-muted">Slots</span>
        <span className="tabular-nums">
          {busy} of {slots} busy
        </span>
      </div>
      <div aria-hidden="true" className="mt-1 h-1.5 rounded bg-idle-soft">
        <div className={`h-full rounded ${full >= 1 ? "bg-warn" : "bg-busy"}`} style={{ width: `${full * 100}%` }} />
      </div>
    </div>
  );
}
