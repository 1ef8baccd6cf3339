import type { Entry } from "@aikirun/lib/protocol";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useRef } from "react";
import { spanText } from "../time.tsx";
import type { Axis } from "./axis.ts";
import type { FactTone, JournalFact } from "./facts.ts";
import type { TimelineRow } from "./rows.ts";
import { timelineColumns } from "./ruler.tsx";

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

interface RowsProps {
  rows: readonly TimelineRow[];
  entries: readonly Entry[];
  facts: readonly JournalFact[];
  axis: Axis;
  /** The index of the selected entry; -1 for none. */
  selected: number;
  select: (index: number) => void;
  /** Opens or closes the fold that begins with this fact. */
  toggle: (first: number) => void;
}

/** The rows that are visible, and some above and below. */
export function TimelineRows(props: RowsProps): ReactNode {
  const { rows, selected } = props;
  const box = useRef<HTMLElement>(null);
  const at = rows.findIndex((row) => row.type === "fact" && row.index === selected);
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 10,
    initialOffset: Math.max(0, (at - 5) * rowHeight),
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: scrolls when another entry is selected, not for new rows.
  useEffect(() => {
    if (at >= 0) list.scrollToIndex(at);
  }, [selected]);
  return (
    <section
      ref={box}
      tabIndex={0}
      aria-label="Entries"
      className="overflow-auto"
      style={{ height: Math.min(rows.length, mostRows) * rowHeight }}
    >
      <ol className="relative" style={{ height: list.getTotalSize() }}>
        {list.getVirtualItems().map(({ index, start, key }) => (
          <li
            key={key}
            className="absolute inset-x-0"
            style={{ height: rowHeight, transform: `translateY(${start}px)` }}
          >
            <OneRow {...props} row={rows[index]} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function OneRow({ row, ...props }: RowsProps & { row: TimelineRow | undefined }): ReactNode {
  const { entries, facts, axis, selected, select, toggle } = props;
  switch (row?.type) {
    case "fact": {
      const [entry, fact] = [entries[row.index], facts[row.index]];
      if (entry === undefined || fact === undefined) return null;
      const isSelected = row.index === selected;
      return <FactRow {...{ entry, fact, axis, isSelected }} onSelect={() => select(row.index)} />;
    }
    case "fold":
      return <FoldRow row={row} facts={facts} axis={axis} onToggle={() => toggle(row.first)} />;
    case "attempt":
      return <p className="border-b border-line pt-1.5 text-[12px] font-semibold">Attempt {row.attempt}</p>;
    case undefined:
      return null;
    default:
      return row satisfies never;
  }
}

const rowClass = `h-full w-full items-center gap-2 rounded px-1 text-left ${timelineColumns}`;

interface FactRowProps {
  entry: Entry;
  fact: JournalFact;
  axis: Axis;
  isSelected: boolean;
  onSelect: () => void;
}

function FactRow({ entry, fact, axis, isSelected, onSelect }: FactRowProps): ReactNode {
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
      <Bar from={fact.from} to={fact.to} tone={fact.tone} axis={axis} />
    </button>
  );
}

interface FoldProps {
  row: Extract<TimelineRow, { type: "fold" }>;
  facts: readonly JournalFact[];
  axis: Axis;
  onToggle: () => void;
}

function FoldRow({ row, facts, axis, onToggle }: FoldProps): ReactNode {
  const { first, last, names, count, isOpen } = row;
  const [from, to] = [facts[first]?.from ?? 0, facts[last]?.to ?? 0];
  return (
    <button type="button" aria-expanded={isOpen} onClick={onToggle} className={`${rowClass} bg-page hover:bg-hover`}>
      <span aria-hidden="true" className="text-right text-[11px] text-muted">
        {isOpen ? "▾" : "▸"}
      </span>
      <span className="truncate text-[13px] font-medium">
        {names.join(", ")} <span className="text-muted">× {count}</span>
      </span>
      <span className="hidden truncate text-[12px] text-muted md:block">
        {last - first + 1} entries in {spanText(to - from)}
      </span>
      <Bar from={from} to={to} tone="good" axis={axis} />
    </button>
  );
}

function Bar({ from, to, tone, axis }: { from: number; to: number; tone: FactTone; axis: Axis }): ReactNode {
  const [left, right] = [axis.position(from), axis.position(to)];
  const position = { left: `${Math.min(99.6, left * 100)}%`, width: `max(3px, ${(right - left) * 100}%)` };
  return (
    <span className="relative block h-3" title={spanText(to - from)}>
      <span aria-hidden="true" className={`absolute inset-y-0 rounded-sm ${barTones[tone]}`} style={position} />
    </span>
  );
}
