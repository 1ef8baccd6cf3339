/** Writes log lines to a stream. A full, closed or slow stream must not stop the program. */

import type { Writable } from "node:stream";

/** Bytes that may wait for a slow reader of the log. Lines are dropped while more than that wait. */
const maxWaitingBytes = 1_048_576;

/**
 * Returns a function that writes one line, without its line end, to the stream. It never throws and never blocks on a
 * slow reader of a pipe. A line that cannot be written is dropped and counted; when writing works again, `notice` makes
 * the line that says how many were dropped.
 */
export function logOutput(stream: Writable, notice: (dropped: number) => string): (line: string) => void {
  let dropped = 0;
  /** A failed write may have left half a line behind. */
  let isTorn = false;

  /** `lost`: how many lines are lost when this one is. */
  const write = (line: string, lost: number): void => {
    if (stream.writableLength > maxWaitingBytes) {
      dropped += lost;
      return;
    }
    const settle = (error?: Error | null) => {
      if (error) {
        dropped += lost;
        isTorn = true;
        absorbError(stream);
      } else {
        reportDropped();
      }
    };
    const text = `${isTorn ? "\n" : ""}${line}\n`;
    isTorn = false;
    try {
      stream.write(text, settle);
    } catch {
      dropped += lost;
    }
  };

  const reportDropped = (): void => {
    if (dropped === 0 || stream.writableLength > maxWaitingBytes / 2) return;
    const count = dropped;
    dropped = 0;
    write(notice(count), count + 1);
  };

  return (line) => write(line, 1);
}

/** A stream emits `error` after it has called back with it, which ends a program that does not listen. */
function absorbError(stream: Writable): void {
  if (stream.listenerCount("error") === 0) stream.once("error", () => {});
}
