import type { Entry } from "@aikirun/lib/protocol";
import { entryBytes } from "../storage/journal.ts";
import type { JournalRequest, Reader } from "../storage/storage.ts";
import type { Budget } from "./budget.ts";

/** How many journals one statement reads: at first, and at most, if they are small on average. */
const fewest = 4;
const most = 16;
/** Bytes. */
const smallBytes = 10_000;

/** Reads journals until the budget is spent, a few at a time; null for each that is not read. */
export async function readJournals(
  reader: Pick<Reader, "journal">,
  requests: readonly JournalRequest[],
  budget: Budget,
): Promise<Array<Entry[] | null>> {
  const pages: Array<Entry[] | null> = [];
  let size = fewest;
  while (pages.length < requests.length) {
    const some = requests.slice(pages.length, pages.length + size);
    const read = budget.isLeft ? await reader.journal(some) : [];
    const bytes = read.reduce((sum, entries) => sum + bytesOf(entries), 0);
    budget.takeBytes(bytes);
    pages.push(...some.map((_, index) => read[index] ?? null));
    size = bytes < some.length * smallBytes ? Math.min(most, size * 4) : fewest;
  }
  return pages;
}

/** The size of the entries in a reply. Bytes. */
export function bytesOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
}
