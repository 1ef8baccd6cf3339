/** The journal of a run as rows with bars: at most some fifty rows are in the page, however many there are. */

import type { Entry, RunView } from "@aikirun/lib/protocol";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useMemo, useRef } from "react";
import { useKeys } from "../keys.tsx";
import { useParam } from "../params.ts";
import { Button, Copy, Empty, Panel } from "../parts.tsx";
import { Payload } from "../payload.tsx";
import { Moment, spanText } from "../time.tsx";
import { type FactTone, factsOf, type JournalFact } from "./facts.ts";
import { FailureText } from "./failure.tsx";

const rowHeight = 28;
const mostRows = 18;

const barTones: Record<FactTone, string> = {
  good: "bg-good",
  bad: "bg-bad",
  warn: "bg-warn",
  busy: "bg-busy",
  idle: "bg-line-strong",
};

const textTones: Record<FactTone, string> = {
  good: "text-good",
  bad: "text-bad",
  warn: "text-warn",
  busy: "text-busy",
  idle: "text-muted",
};

interface TimelineProps {
  run: RunView;
  entries: readonly Entry[];
  /** When the run was read. Epoch milliseconds. */
  now: number;
}

export function Timeline({ run, entries, now }: TimelineProps): ReactNode {
  const facts = useMemo(() => factsOf(entries, run.createdAt), [entries, run.createdAt]);
  const [step, setStep] = useParam("step");
  const selected = entries.findIndex(({ seq }) => String(seq) === step);
  const box = useRef<HTMLElement>(null);
  const rows = useVirtualizer({
    count: facts.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 10,
    initialOffset: Math.max(0, (selected - 5) * rowHeight),
  });
  const select = (index: number) => {
    const entry = entries[Math.min(Math.max(index, 0), entries.length - 1)];
    if (entry === undefined) return;
    setStep(String(entry.seq), true);
    rows.scrollToIndex(entries.indexOf(entry));
  };
  useKeys({ j: () => select(selected + 1), k: () => select(selected - 1) });
  const end = run.outcome === undefined ? Math.max(now, run.updatedAt) : run.updatedAt;
  const scale = { from: run.createdAt, length: Math.max(1, end - run.createdAt) };
  const chosen = entries[selected];
  return (
    <Panel
      title={`Timeline (${facts.length} ${facts.length === 1 ? "entry" : "entries"})`}
      extra={<span className="text-[12px] text-muted">{spanText(scale.length)}</span>}
    >
      {facts.length === 0 ? (
        <Empty>{run.outcome === undefined ? "Nothing is recorded yet." : "Nothing was recorded."}</Empty>
      ) : null}
      <section
        ref={box}
        tabIndex={0}
        aria-label="Entries"
        className="overflow-auto"
        style={{ height: Math.min(facts.length, mostRows) * rowHeight }}
      >
        <ol className="relative" style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map(({ index, start }) => {
            const [entry, fact] = [entries[index], facts[index]];
            return entry === undefined || fact === undefined ? null : (
              <li
                key={entry.seq}
                className="absolute inset-x-0"
                style={{ height: rowHeight, transform: `translateY(${start}px)` }}
              >
                <Row
                  entry={entry}
                  fact={fact}
                  scale={scale}
                  isSelected={index === selected}
                  onSelect={() => select(index)}
                />
              </li>
            );
          })}
        </ol>
      </section>
      {chosen === undefined ? null : <Detail entry={chosen} onClose={() => setStep("", true)} />}
    </Panel>
  );
}

interface Scale {
  from: number;
  length: number;
}

interface RowProps {
  entry: Entry;
  fact: JournalFact;
  scale: Scale;
  isSelected: boolean;
  onSelect: () => void;
}

const rowClass =
  "grid h-full w-full items-center gap-2 rounded px-1 text-left grid-cols-[3rem_minmax(8rem,1fr)_minmax(6rem,1fr)] " +
  "md:grid-cols-[3.5rem_minmax(10rem,14rem)_minmax(10rem,18rem)_1fr]";

function Row({ entry, fact, scale, isSelected, onSelect }: RowProps): ReactNode {
  const left = (100 * (fact.from - scale.from)) / scale.length;
  const width = (100 * (fact.to - fact.from)) / scale.length;
  const position = {
    left: `${Math.min(99.5, Math.max(0, left))}%`,
    width: `max(3px, ${Math.min(100 - Math.max(0, left), width)}%)`,
  };
  return (
    <button
      type="button"
      aria-pressed={isSelected}
      onClick={onSelect}
      className={`${rowClass} ${isSelected ? "bg-selected" : "hover:bg-hover"}`}
    >
      <span className="text-right font-mono text-[11px] text-muted">{entry.seq}</span>
      <span className="truncate text-[13px]">
        <span className="font-medium">{fact.subject}</span> <span className="text-[11px] text-muted">{fact.kind}</span>
      </span>
      <span className="hidden truncate text-[12px] md:block" title={fact.detail.slice(0, 500)}>
        <span className={textTones[fact.tone]}>{fact.verb}</span>{" "}
        <span className="text-muted">{fact.detail.slice(0, 120)}</span>
      </span>
      <span
        className="relative block h-3"
        title={`${spanText(fact.to - fact.from)}, from +${spanText(fact.from - scale.from)}`}
      >
        <span aria-hidden="true" className={`absolute inset-y-0 rounded-sm ${barTones[fact.tone]}`} style={position} />
      </span>
    </button>
  );
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
