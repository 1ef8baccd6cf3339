import type { RunView } from "@aikirun/lib/protocol";
import { tableLines } from "../listing.ts";
import type { Paint } from "../paint.ts";
import type { TableCell } from "../table.ts";
import { amountOf, counted, cut, plain, spanOf, widthOf } from "../text.ts";
import { statusStyle } from "../timeline.ts";
import { workerTable } from "../workers-command.ts";
import type { Overview, StatusCount } from "./overview.ts";

/** The size and the colours of the output. */
export interface Frame {
  width: number;
  /** The maximum number of lines. */
  height: number;
  paint: Paint;
}

/** At least so many changed runs are shown. */
const leastChanges = 3;

/** The overview as text: the workers, the number of runs of each status, and the latest changes. */
export function overviewLines({ workers, statuses, changed }: Overview, title: string, frame: Frame): string[] {
  const { width, height, paint } = frame;
  const loads = workers.flatMap(({ load }) => load ?? []);
  const busy = loads.reduce((sum, load) => sum + load.busy, 0);
  const slots = loads.reduce((sum, load) => sum + load.slots, 0);
  const summary = `${counted(workers.length, "worker")}, ${amountOf(busy)} of ${counted(slots, "slot")} busy`;
  const head = [
    `${paint("bold", "aiki top")}  ${cut(`${plain(title)}  ${summary}`, width - 10)}`,
    "",
    ...statusLines(statuses, width, paint),
    "",
  ];
  const workerLines = tableLines(workerTable(workers), frame);
  const forWorkers = Math.max(2, height - head.length - leastChanges - 2);
  const cutWorkers =
    workerLines.length > forWorkers
      ? [...workerLines.slice(0, forWorkers - 1), paint("dim", `and ${workerLines.length - forWorkers + 1} more`)]
      : workerLines;
  const forChanges = height - head.length - cutWorkers.length - 2;
  const changes = tableLines(changeTable(changed.slice(0, Math.max(leastChanges, forChanges))), frame);
  return [...head, ...cutWorkers, "", ...changes].slice(0, height);
}

/** `running 3  queued 200+ …`, in as many lines as the width needs. */
function statusLines(statuses: readonly StatusCount[], width: number, paint: Paint): string[] {
  const lines: string[] = [];
  let line = "";
  let used = 0;
  for (const { status, count, isMore } of statuses) {
    const amount = `${amountOf(count)}${isMore ? "+" : ""}`;
    const size = widthOf(`${status} ${amount}`);
    if (used > 0 && used + 3 + size > width) {
      lines.push(line);
      [line, used] = ["", 0];
    }
    const gap = used === 0 ? "" : "   ";
    line += `${gap}${paint(statusStyle(status), status)} ${paint("bold", amount)}`;
    used += gap.length + size;
  }
  if (used > 0) lines.push(line);
  return lines;
}

function changeTable(items: readonly RunView[]) {
  const heading = ["RUN", "WORKFLOW", "STATUS", "CHANGED", ""];
  return { items, nothing: "There are no runs.", heading, row: changeOf };
}

function changeOf({ id, name, versionId, status, updatedAt, explanation }: RunView): TableCell[] {
  const changed = `${spanOf(Math.max(0, Date.now() - updatedAt))} ago`;
  return [id, plain(`${name}@${versionId}`), { text: status, style: statusStyle(status) }, changed, plain(explanation)];
}
