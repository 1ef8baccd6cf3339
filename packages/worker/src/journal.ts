import { AikiError } from "@aikirun/lib";
import type { Api, ClaimedRun, ClaimedWait, Entry, RunId } from "@aikirun/lib/protocol";

const pageEntries = 10_000;

/**
 * The run with the whole journal that its execution needs. What was cut at the size of a page is read on; what `hot`
 * left out is read from the start when the execution is not in memory any more (`isResumable` false).
 * Throws the fault of a `read`.
 */
export async function withJournal(api: Api, claimed: ClaimedRun, isResumable: boolean): Promise<ClaimedRun> {
  if (claimed.hot && !isResumable) {
    const { journalCutAt: _, ...whole } = claimed;
    return { ...whole, hot: false, ...(await readFrom(api, claimed.id, 0)) };
  }
  const { journalCutAt, ...rest } = claimed;
  if (journalCutAt === undefined) {
    return claimed;
  }
  const { journal } = await readFrom(api, claimed.id, journalCutAt);
  return { ...rest, journal: [...claimed.journal, ...journal] };
}

/** The open waits are read first: what ends one of them meanwhile stands in the journal. */
async function readFrom(api: Api, runId: RunId, start: number): Promise<Pick<ClaimedRun, "journal" | "waits">> {
  const journal: Entry[] = [];
  const waits: ClaimedWait[] = [];
  for (let after = start; ; ) {
    const asked = { runId, entries: { after, limit: pageEntries }, waits: after === start };
    const [page] = (await api.read({ runs: [asked] })).results;
    if (page === undefined || !page.ok) {
      throw new AikiError(page?.code ?? "BAD_REPLY", page?.message ?? "The journal is missing.", { ids: { runId } });
    }
    waits.push(...(page.waits ?? []));
    journal.push(...page.entries);
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) {
      return { journal, waits };
    }
    after = last.seq;
  }
}
