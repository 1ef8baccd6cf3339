/** The answers to commands. */

import { relationTo } from "@aikirun/lib/internal";
import type { Entry, Report } from "@aikirun/lib/protocol";
import type { Accepted, Command, Decision, NewFact, Run } from "../core/run.ts";
import { isLoaded } from "../core/unread.ts";
import { cutJournal, entryBytes } from "../storage/journal.ts";
import type { Transaction } from "../storage/storage.ts";
import type { Budget, Room } from "./budget.ts";
import { bytesOf } from "./journals.ts";
import { type Answer, notFound, type Operation } from "./operation.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** A promise only where something must be read first: thousands of answers are given each second. */
export function answer(
  { transaction, work, reply }: Answering,
  { namespace, to, command, roomIn }: Extract<Operation, { type: "command" }>,
): Promise<Answer> | Answer {
  const run = work.get(to);
  if (run === undefined || (namespace !== null && run.namespace !== namespace)) {
    return notFound(to);
  }
  const { tail } = run;
  const pending = [...work.recorded(to)];
  const commanded = { transaction, work, room: roomIn?.(reply) ?? reply, command, tail, pending };
  const answered = (decision: Decision | null): Promise<Answer> | Answer =>
    decision?.ok === true ? answerOf(commanded, decision) : (decision ?? notFound(to));
  const decision = work.apply(to, command);
  return decision instanceof Promise ? decision.then(answered) : answered(decision);
}

interface Answering {
  transaction: Transaction;
  work: UnitOfWork;
  /** For the answers of this transaction. */
  reply: Budget;
}

interface Commanded extends Omit<Answering, "reply"> {
  room: Room;
  command: Command;
  /** The run's last `seq` before the command. */
  tail: number;
  /** What this transaction had decided to record before the command. */
  pending: NewFact[];
}

function answerOf(
  { transaction, work, room, command, tail, pending }: Commanded,
  decision: Accepted,
): Promise<Answer> | Answer {
  if (command.type !== "report") {
    const anew = decision.effects.find(({ type }) => type === "start");
    return {
      ok: true,
      run: decision.run,
      anew: anew?.type === "start" ? anew.run : null,
      first: tail + 1,
      news: [],
      cutAt: null,
    };
  }
  const { report } = command;
  const { id } = decision.run;
  const known = work.tailBefore(id);
  const written = [...pending, ...decision.entries];
  if (known <= report.after) {
    return reportAnswer(report, decision, { before: [], written, room });
  }
  // The row and its journal are read one after the other: what another server records in between is for later.
  const request = { runId: id, after: report.after, limit: known - report.after, bytes: room.left };
  const reading = room.isLeft ? transaction.journal([request]) : Promise.resolve([]);
  return reading.then(([read = []]) => {
    // Another transaction with reports of this request may have taken from its budget meanwhile.
    const before = room.isLeft ? cutJournal(read, read.length, room.left) : [];
    room.takeBytes(bytesOf(before));
    const cutAt = before.at(-1)?.seq ?? report.after;
    return cutAt < known
      ? cutAnswer(transaction, report, { run: decision.run, entries: before, cutAt, written })
      : reportAnswer(report, decision, { before, written, room });
  });
}

/** News that does not fit into the reply. */
interface Cut {
  run: Run;
  /** As much as fits, up to `cutAt`. */
  entries: Entry[];
  cutAt: number;
  /** What this transaction records, which storage does not have yet. */
  written: NewFact[];
}

/** The worker reads on from where the news is cut, before it uses the answer. */
async function cutAnswer(
  transaction: Transaction,
  report: Report,
  { run, entries, cutAt, written }: Cut,
): Promise<Answer> {
  const relation = relationTo(report);
  const addresses = [...report.entries, ...report.starts].map(({ address }) => address);
  // The report, or the one that it repeats, may have ended its attempt.
  const keys = [run.attempt, run.attempt - 1].flatMap((attempt) =>
    addresses.map((address) => ({ runId: run.id, attempt, address })),
  );
  const brought = new Set(addresses);
  const there = [...(await transaction.entriesAt(keys)), ...written].filter(
    ({ fence, address }) => fence === report.fence && brought.has(address),
  );
  const first = there.reduce((least, { seq }) => Math.min(least, seq), run.tail + 1);
  const news = entries.filter((entry) => relation(entry) !== "asItSays");
  return { ok: true, run, anew: null, first, news, cutAt };
}

interface News {
  /** What was recorded that the worker does not know of. */
  before: Entry[];
  /** What this transaction records, up to this report. */
  written: NewFact[];
  room: Room;
}

function reportAnswer(report: Report, { run, entries }: Accepted, { before, written, room }: News): Answer {
  const isAlone = before.length + report.starts.length === 0 && written.length === entries.length;
  if (isAlone && entries.length === report.entries.length) {
    return { ok: true, run, anew: null, first: entries[0]?.seq ?? run.tail + 1, news: [], cutAt: null };
  }
  const relation = relationTo(report);
  const isNews = (entry: Entry) => relation(entry) !== "asItSays";
  const cutAt = cutOf(written, isNews, room);
  const all = [...before, ...written.filter(isLoaded)];
  const first = all.find((entry) => relation(entry) !== "none")?.seq ?? run.tail + 1;
  const news = all.filter((entry) => isNews(entry) && (cutAt === null || entry.seq <= cutAt));
  return { ok: true, run, anew: null, first, news, cutAt };
}

/** The `seq` after which the first fact follows that there is no room for, or that is not loaded; or null. */
function cutOf(written: readonly NewFact[], isNews: (entry: Entry) => boolean, room: Room): number | null {
  for (const fact of written) {
    if (!isLoaded(fact)) {
      return fact.seq - 1;
    }
    if (isNews(fact)) {
      if (!room.isLeft) {
        return fact.seq - 1;
      }
      room.takeBytes(entryBytes(fact));
    }
  }
  return null;
}
