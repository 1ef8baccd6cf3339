/** The journal of a run as rows with bars: at most some fifty rows are in the page, however many there are. */

import type { Entry, RunView } from "@aikirun/lib/protocol";
import { type ReactNode, useMemo } from "react";
import { useKeys } from "../keys.tsx";
import { useParam } from "../params.ts";
import { Button, Copy, Empty, Panel } from "../parts.tsx";
import { Payload } from "../payload.tsx";
import { Moment, spanText } from "../time.tsx";
import { axisOf } from "./axis.ts";
import { factsOf } from "./facts.ts";
import { FailureText } from "./failure.tsx";
import { rowsOf } from "./rows.ts";
import { Ruler } from "./ruler.tsx";
import { TimelineRows } from "./timeline-rows.tsx";

interface TimelineProps {
  run: RunView;
  entries: readonly Entry[];
  /** When the run was read. Epoch milliseconds. */
  now: number;
}

export function Timeline({ run, entries, now }: TimelineProps): ReactNode {
  const facts = useMemo(() => factsOf(entries, run.createdAt), [entries, run.createdAt]);
  const [step, setStep] = useParam("step");
  const [zoom, setZoom] = useParam("zoom");
  const [idle, setIdle] = useParam("idle");
  const [open, setOpen] = useParam("open");
  const selected = entries.findIndex(({ seq }) => String(seq) === step);
  const end = run.outcome === undefined ? Math.max(now, run.updatedAt) : run.updatedAt;
  const whole = { from: run.createdAt, to: Math.max(run.createdAt + 1, end) };
  const range = zoomed(zoom, whole);
  const axis = axisOf(facts, range, idle === "short");
  const openFolds = open.split(",");
  const rows = rowsOf(facts, (first) => openFolds.includes(String(first)), selected, range);
  const select = (index: number) => {
    const entry = entries[Math.min(Math.max(index, 0), entries.length - 1)];
    if (entry !== undefined) setStep(String(entry.seq), true);
  };
  useKeys({ j: () => select(selected + 1), k: () => select(selected - 1) });
  const toggle = (first: number) => {
    const next = openFolds.filter((one) => one !== "" && one !== String(first));
    setOpen((openFolds.includes(String(first)) ? next : [...next, String(first)]).join(","), true);
  };
  const chosen = entries[selected];
  return (
    <Panel
      title={`Timeline (${facts.length} ${facts.length === 1 ? "entry" : "entries"})`}
      extra={
        <span className="flex items-center gap-2 text-[12px] text-muted">
          {zoom === "" ? null : <Button onClick={() => setZoom("", true)}>Whole run</Button>}
          <label className="flex items-center gap-1">
            <input
              type="checkbox"
              checked={idle === "short"}
              onChange={(event) => setIdle(event.target.checked ? "short" : "", true)}
            />
            Shorten idle times
          </label>
          {spanText(range.to - range.from)}
        </span>
      }
    >
      {facts.length === 0 ? (
        <Empty>{run.outcome === undefined ? "Nothing is recorded yet." : "Nothing was recorded."}</Empty>
      ) : (
        <>
          <Ruler axis={axis} begin={run.createdAt} onZoom={(from, to) => setZoom(zoomText(from, to, run.createdAt))} />
          <TimelineRows {...{ rows, entries, facts, axis, selected, select, toggle }} />
        </>
      )}
      {chosen === undefined ? null : <Detail entry={chosen} onClose={() => setStep("", true)} />}
    </Panel>
  );
}

/** The URL has the zoom in milliseconds since the run was created: `1200-5300`. */
function zoomText(from: number, to: number, begin: number): string {
  return `${Math.floor(from - begin)}-${Math.ceil(to - begin)}`;
}

function zoomed(zoom: string, whole: { from: number; to: number }): { from: number; to: number } {
  const [, from, to] = /^(\d+)-(\d+)$/.exec(zoom) ?? [];
  if (from === undefined || to === undefined || Number(to) <= Number(from)) return whole;
  return { from: whole.from + Number(from), to: whole.from + Number(to) };
}

function Detail({ entry, onClose }: { entry: Entry; onClose: () => void }): ReactNode {
  const { value } = entry;
  const output = value.type === "returned" ? value.output : value.type === "arrived" ? value.data : undefined;
  const error = "error" in value ? value.error : undefined;
  return (
    <section aria-label={`Entry ${entry.seq}`} className="mt-3 grid gap-3 border-t border-line pt-3">
      <div className="flex flex-wrap items-start gap-x-6 gap-y-1 text-[13px]">
        <Named name="Entry">{entry.seq}</Named>
        <Named name="Recorded">
          <Moment at={entry.at} />
        </Named>
        {entry.startedAt === undefined ? null : <Named name="Took">{spanText(entry.at - entry.startedAt)}</Named>}
        <Named name="Attempt">{entry.attempt}</Named>
        {entry.worker === undefined ? null : <Named name="Worker">{entry.worker}</Named>}
        <Named name="Address">
          <span className="font-mono text-[12px] break-all">{entry.address}</span>{" "}
          <Copy text={entry.address} what="the address" />
        </Named>
        <div className="ml-auto">
          <Button onClick={onClose}>Close</Button>
        </div>
      </div>
      {value.type === "returned" || value.type === "arrived" ? (
        <Payload json={output} what={`value of entry ${entry.seq}`} />
      ) : null}
      {error === undefined ? null : <FailureText failure={error} />}
    </section>
  );
}

function Named({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <p>
      <span className="mr-1.5 text-muted">{name}</span>
      {children}
    </p>
  );
}
