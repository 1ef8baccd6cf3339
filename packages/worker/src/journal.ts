import { AikiError } from "@aikirun/lib";
import { relationTo } from "@aikirun/lib/internal";
import type { Api, ClaimedRun, ClaimedWait, Entry, Report, ReportResult, RunId } from "@aikirun/lib/protocol";

const pageEntries = 10_000;

/**
 * The run with its input and the journal entries that its execution needs. Reads what the claim left out. If the claim
 * left out entries because of `isCached` and the execution is no longer in memory (`isResumable` false), reads the
 * whole journal. Throws the fault of a `read`.
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

/** The answer with all entries that the report does not contain. Throws the fault of a `read`. */
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
  /** Empty if the run has no input. */
  input: Pick<ClaimedRun, "input">;
}

/** Reads the open waits before the journal. If a wait ends between the two reads, the journal has its entry. */
async function readFrom(api: Pick<Api, "read">, runId: RunId, start: number): Promise<Read> {
  const journal: Entry[] = [];
  const waits: ClaimedWait[] = [];
  for (let after = start; ; ) {
    const request = { runId, entries: { after, limit: pageEntries }, waits: after === start };
    const [page] = (await api.read({ runs: [request] })).results;
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
