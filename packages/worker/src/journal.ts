import { AikiError } from "@aikirun/lib";
import type { Api, ClaimedRun, Entry, RunId } from "@aikirun/lib/protocol";

const pageEntries = 10_000;

/**
 * The run with the whole journal that its execution needs. What was cut at the size of a page is read on; what `hot`
 * left out is read from the start when the execution is not in memory any more (`isResumable` false).
 * Throws the fault of a `read`.
 */
export async function withJournal(api: Api, claimed: ClaimedRun, isResumable: boolean): Promise<ClaimedRun> {
  if (claimed.hot && !isResumable) {
    const { journalCutAt: _, ...whole } = claimed;
    return { ...whole, hot: false, journal: await readFrom(api, claimed.id, 0) };
  }
  const { journalCutAt, ...rest } = claimed;
  if (journalCutAt === undefined) {
    return claimed;
  }
  return { ...rest, journal: [...claimed.journal, ...(await readFrom(api, claimed.id, journalCutAt))] };
}

async function readFrom(api: Api, runId: RunId, start: number): Promise<Entry[]> {
  const journal: Entry[] = [];
  for (let after = start; ; ) {
    const [page] = (await api.read({ runs: [{ runId, entries: { after, limit: pageEntries } }] })).results;
    if (page === undefined || !page.ok) {
      throw new AikiError(page?.code ?? "BAD_REPLY", page?.message ?? "The journal is missing.", { ids: { runId } });
    }
    journal.push(...page.entries);
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) {
      return journal;
    }
    after = last.seq;
  }
}
