import { consoleLogger } from "@aikirun/lib";
import { type Moved, type MoveProgress, move, withoutPassword } from "@aikirun/server";
import type { Terminal } from "./terminal.ts";
import { counted } from "./text.ts";

export interface MoveOptions {
  from: string;
  to: string;
  json?: boolean;
}

/** The minimum time between two lines of progress. Milliseconds. */
const progressMs = 1_000;

/** Moves all runs from one database to another, and prints what to do next. */
export async function moveCommand({ json, ...options }: MoveOptions, terminal: Terminal): Promise<void> {
  const [from, to] = [withoutPassword(options.from), withoutPassword(options.to)];
  const isText = json !== true;
  if (isText) terminal.out(`Moving the runs of ${from} to ${to}. No server may use either of them until this ends.`);
  const moved = await move({
    ...options,
    logger: consoleLogger({ level: "warn" }),
    onProgress: progressPrinter(terminal, isText),
  });
  terminal.progress(null);
  if (!isText) {
    terminal.out(JSON.stringify(moved));
    return;
  }
  terminal.out(
    moved.already
      ? `${terminal.paint("green", "Already moved")}: ${to} contains ${contents(moved)}.`
      : `${terminal.paint("green", "Moved")} ${contents(moved)}.`,
  );
  terminal.out("Every run and its journal was read from both databases and compared: they are equal.");
  terminal.out(`Next: start your servers with --database ${to}; workers and clients need no change.`);
  terminal.out(
    `The runs in ${from} are unchanged: keep them as a backup, but do not start a server with this database again. ` +
      "It would execute the rest of each run a second time.",
  );
}

/** On a terminal, each line replaces the previous one. */
function progressPrinter(terminal: Terminal, isText: boolean): (progress: MoveProgress) => void {
  let printedAt = performance.now();
  return ({ part, runs, entries }) => {
    if (performance.now() - printedAt < progressMs) return;
    printedAt = performance.now();
    const done = part === "copying" ? "copied" : "verified";
    const line = `  ${done} ${counted(runs, "run")}, ${counted(entries, "entry", "entries")}`;
    if (terminal.showsProgress) terminal.progress(line);
    else if (isText) terminal.out(terminal.paint("dim", line));
  };
}

function contents({ runs, statuses, entries }: Moved): string {
  const each = Object.entries(statuses).map(([status, count]) => `${count} ${status}`);
  return `${counted(runs, "run")} (${each.join(", ")}) with ${counted(entries, "entry", "entries")}`;
}
