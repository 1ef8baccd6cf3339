import { AikiError } from "@aikirun/lib";
import { relationTo } from "@aikirun/lib/internal";
import type { Api, ClaimedRun, ClaimedWait, Entry, Report, ReportResult, RunId } from "@aikirun/lib/protocol";

const pageEntries = 10_000;

/**
 * The run with the input and the whole journal that its execution needs. What the claim left out or cut is read; what
 * `isCached` left out is read from the start when the execution is not in memory any more (`isResumable` false).
 * Throws the fault of a `read`.
 */
export async function withJournal(api: Api, claimed: ClaimedRun, isResumable: boolean): Promise<ClaimedRun> {
  const { journalCutAt, inputLeftOut = false, ...rest } = claimed;
  if (claimed.isCached && !isResumable) {
    const { input, journal, waits } = await readFrom(api, claimed.id, 0);
    return { ...rest, ...input, isCached: false, journal, waits };
  }
  if (journalCutAt === undefined && (isResumable || !inputLeftOut)) {
    return claimed;
  }
  const { input, journal } = await readFrom(api, claimed.id, journalCutAt ?? claimed.journal.at(-1)?.seq ?? 0);
  return { ...rest, ...input, journal: [...claimed.journal, ...journal] };
}

/** The answer with all entries that the report did not bring. Throws the fault of a `read`. */
export async function withAllEntries(
  api: Pick<Api, "read">,
  report: Report,
  result: ReportResult,
): Promise<ReportResult> {
  if (!result.ok || result.entriesCutAt === undefined) {
    return result;
  }
  const { entriesCutAt, ...rest } = result;
  const { journal } = await readFrom(api, report.runId, entriesCutAt);
  const relation = relationTo(report);
  const others = journal.filter((entry) => entry.seq <= result.tail && relation(entry) !== "asItSays");
  return { ...rest, entries: [...result.entries, ...others] };
}

interface Read extends Pick<ClaimedRun, "journal" | "waits"> {
  /** Empty if the run has none. */
  input: Pick<ClaimedRun, "input">;
}

/** The open waits are read first: what ends one of them meanwhile stands in the journal. */
async function readFrom(api: Pick<Api, "read">, runId: RunId, start: number): Promise<Read> {
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
      const { input } = page.run;
      return { journal, waits, input: input === undefined ? {} : { input } };
    }
    after = last.seq;
  }
}
