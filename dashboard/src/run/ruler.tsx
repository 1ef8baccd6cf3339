import { type PointerEvent, type ReactNode, useRef, useState } from "react";
import { spanText } from "../time.tsx";
import type { Axis } from "./axis.ts";

interface RulerProps {
  axis: Axis;
  /** When the run was created. Epoch milliseconds. */
  begin: number;
  /** The user has chosen a part of the axis. Epoch milliseconds. */
  onZoom: (from: number, to: number) => void;
}

/** The columns of the ruler and of the rows. */
export const timelineColumns: string =
  "grid grid-cols-[3rem_minmax(8rem,1fr)_minmax(6rem,1fr)] " +
  "md:grid-cols-[3.5rem_minmax(10rem,14rem)_minmax(10rem,18rem)_1fr]";

/** A selection that is narrower than this part of the axis is a click. */
const narrowest = 0.01;

/** The times above the bars. To zoom, the user draws over a part of it. */
export function Ruler({ axis, begin, onZoom }: RulerProps): ReactNode {
  const track = useRef<HTMLDivElement>(null);
  const [drawn, setDrawn] = useState<{ from: number; to: number } | null>(null);
  const positionOf = ({ clientX }: PointerEvent): number => {
    const { left = 0, width = 1 } = track.current?.getBoundingClientRect() ?? {};
    return Math.min(1, Math.max(0, (clientX - left) / width));
  };
  const finish = (): void => {
    setDrawn(null);
    if (drawn === null) return;
    const [from, to] = [Math.min(drawn.from, drawn.to), Math.max(drawn.from, drawn.to)];
    if (to - from >= narrowest) onZoom(axis.timeAt(from), axis.timeAt(to));
  };
  return (
    <div className={`mb-1 gap-2 px-1 ${timelineColumns}`}>
      <span className="col-span-2 text-[11px] text-muted md:col-span-3">Draw over the times to zoom.</span>
      <div
        ref={track}
        aria-hidden="true"
        className="relative h-5 cursor-crosshair touch-none border-b border-line select-none"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          const at = positionOf(event);
          setDrawn({ from: at, to: at });
        }}
        onPointerMove={(event) => drawn !== null && setDrawn({ ...drawn, to: positionOf(event) })}
        onPointerUp={finish}
        onPointerCancel={() => setDrawn(null)}
      >
        {axis.gaps.map(({ from, position, width }) => (
          <span
            key={from}
            className="absolute inset-y-0 bg-idle-soft"
            style={{ left: `${position * 100}%`, width: `${width * 100}%` }}
          />
        ))}
        {axis.ticks.map(({ at, position }, index) => (
          <span
            key={position}
            className={`absolute border-l border-line-strong pl-1 text-[10px] whitespace-nowrap text-muted ${
              index === 0 || index === 3 ? "" : "hidden lg:inline"
            }`}
            style={{ left: `${position * 100}%` }}
          >
            +{spanText(at - begin)}
          </span>
        ))}
        {drawn === null ? null : (
          <span
            className="absolute inset-y-0 bg-accent opacity-30"
            style={{
              left: `${Math.min(drawn.from, drawn.to) * 100}%`,
              width: `${Math.abs(drawn.to - drawn.from) * 100}%`,
            }}
          />
        )}
      </div>
    </div>
  );
}
